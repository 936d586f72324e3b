//! A small AWS in memory. It checks what moto does not: checksums of blocks and of snapshots, client tokens, the states that
//! things go through, and names that are taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_seed::ids::Digest;
use serde_json::json;

use crate::http::{Reply, Request, Server};
use crate::support::BLOCK;

#[derive(Debug, Clone, Default)]
pub struct FakeSnapshot {
    pub token: String,
    pub body: String,
    pub state: String,
    /// Looks at it until a completed one says so.
    pub delay: u32,
    pub blocks: BTreeMap<u32, Vec<u8>>,
    pub tags: BTreeMap<String, String>,
    pub gib: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Thing {
    pub state: String,
    pub form: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

type Trouble = Box<dyn FnMut(&str, &Request) -> Option<Fault> + Send>;

/// What goes wrong with a request.
pub enum Fault {
    /// It is answered so, and not carried out.
    Instead(Reply),
    /// It is carried out, and the connection ends without an answer.
    Silence,
    /// It is not carried out, and the connection stays open.
    Hang,
}

#[derive(Default)]
pub struct Cloud {
    pub snapshots: BTreeMap<String, FakeSnapshot>,
    pub images: BTreeMap<String, Thing>,
    pub instances: BTreeMap<String, Thing>,
    /// Actions in the order they came.
    pub calls: Vec<String>,
    pub trouble: Option<Trouble>,
}

pub struct Running {
    pub server: Server,
    cloud: Arc<Mutex<Cloud>>,
}

impl Running {
    pub fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap()
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn count(&self, action: &str) -> usize {
        self.cloud().calls.iter().filter(|c| *c == action).count()
    }

    pub fn trouble(&self, trouble: impl FnMut(&str, &Request) -> Option<Fault> + Send + 'static) {
        self.cloud().trouble = Some(Box::new(trouble));
    }

    pub fn no_trouble(&self) {
        self.cloud().trouble = None;
    }
}

pub fn start() -> Running {
    let cloud = Arc::new(Mutex::new(Cloud::default()));
    let inside = cloud.clone();
    let server = Server::start(move |request| {
        let mut cloud = inside.lock().unwrap();
        let action = action(&request);
        cloud.calls.push(action.clone());
        let mut trouble = cloud.trouble.take();
        let fault = trouble.as_mut().and_then(|t| t(&action, &request));
        cloud.trouble = trouble;
        match fault {
            Some(Fault::Instead(reply)) => return Some(reply),
            Some(Fault::Hang) => {
                drop(cloud);
                loop {
                    std::thread::park();
                }
            }
            _ => {}
        }
        let reply = cloud.answer(&action, &request);
        fault.is_none().then_some(reply)
    });
    Running { server, cloud }
}

fn action(request: &Request) -> String {
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    match (request.method.as_str(), &parts[..]) {
        ("POST", ["snapshots"]) => "StartSnapshot".into(),
        ("POST", ["snapshots", "completion", _]) => "CompleteSnapshot".into(),
        ("PUT", ["snapshots", _, "blocks", _]) => "PutSnapshotBlock".into(),
        _ => request.form().into_iter().find(|(k, _)| k == "Action").unwrap().1,
    }
}

pub fn refusal(status: u16, code: &str) -> Reply {
    let text = format!("<Response><Errors><Error><Code>{code}</Code><Message>m</Message></Error></Errors></Response>");
    Reply::new(status, text)
}

pub fn rest_refusal(status: u16, code: &str) -> Reply {
    Reply::new(status, json!({"Message": "m"}).to_string()).header("x-amzn-errortype", &format!("{code}:http://x/"))
}

fn xml(tags: &BTreeMap<String, String>) -> String {
    let item = |(k, v): (&String, &String)| format!("<item><key>{k}</key><value>{}</value></item>", v.replace('&', "&amp;"));
    let items: String = tags.iter().map(item).collect();
    format!("<tagSet>{items}</tagSet>")
}

/// The tags of the first specification of a form.
fn tags_of(form: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let get = |n: usize, part: &str| form.get(&format!("TagSpecification.1.Tag.{n}.{part}")).cloned();
    (1..50).map_while(|n| Some((get(n, "Key")?, get(n, "Value")?))).collect()
}

impl Cloud {
    fn answer(&mut self, action: &str, request: &Request) -> Reply {
        if request.service() == "ebs" {
            return self.ebs(action, request);
        }
        assert_eq!(
            (request.service(), request.header("content-type").split(';').next().unwrap()),
            ("ec2", "application/x-www-form-urlencoded")
        );
        let form: BTreeMap<String, String> = request.form().into_iter().collect();
        assert_eq!(form["Version"], "2016-11-15");
        match action {
            "DescribeSnapshots" => self.describe_snapshots(&form),
            "DescribeImages" => self.describe_images(&form),
            "CreateTags" => {
                let snapshot = self.snapshots.get_mut(&form["ResourceId.1"]).unwrap();
                snapshot.tags.insert(form["Tag.1.Key"].clone(), form["Tag.1.Value"].clone());
                Reply::new(200, "<R><return>true</return></R>")
            }
            "RegisterImage" => self.register(form),
            "RunInstances" => self.run(form),
            "DescribeInstances" => self.describe_instances(&form),
            _ => panic!("{action}"),
        }
    }

    fn ebs(&mut self, action: &str, request: &Request) -> Reply {
        let id = request.path.split('/').nth(if action == "CompleteSnapshot" { 3 } else { 2 }).unwrap_or_default();
        if action == "StartSnapshot" {
            return self.start_snapshot(request);
        }
        let Some(snapshot) = self.snapshots.get_mut(id) else { return rest_refusal(404, "ResourceNotFoundException") };
        if snapshot.state != "pending" || snapshot.delay > 0 {
            return rest_refusal(409, "ConflictException");
        }
        let checksum = STANDARD.decode(request.header("x-amz-checksum")).unwrap();
        if action == "PutSnapshotBlock" {
            let index = request.path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!((request.body.len(), request.header("x-amz-data-length")), (BLOCK, "524288"));
            assert_eq!(checksum, Digest::of(&request.body).0, "AWS compares it");
            snapshot.blocks.insert(index, request.body.clone());
            return Reply::new(201, "{}");
        }
        let all: Vec<u8> = snapshot.blocks.values().flat_map(|b| Digest::of(b).0).collect();
        if request.header("x-amz-changedblockscount") != snapshot.blocks.len().to_string()
            || (!snapshot.blocks.is_empty() && checksum != Digest::of(&all).0)
        {
            return rest_refusal(400, "ValidationException");
        }
        snapshot.delay = 2;
        Reply::new(202, json!({"Status": "pending"}).to_string())
    }

    fn start_snapshot(&mut self, request: &Request) -> Reply {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let text = body.to_string();
        let token = body["ClientToken"].as_str().unwrap().to_owned();
        let answer = |id: &str| Reply::new(201, json!({"SnapshotId": id, "OwnerId": "1234", "BlockSize": BLOCK}).to_string());
        if let Some((id, old)) = self.snapshots.iter().find(|(_, s)| s.token == token) {
            return if old.body == text { answer(id) } else { rest_refusal(409, "ConflictException") };
        }
        let id = format!("snap-{:04}", self.snapshots.len() + 1);
        let tag = |t: &serde_json::Value| (t["Key"].as_str().unwrap().to_owned(), t["Value"].as_str().unwrap().to_owned());
        let snapshot = FakeSnapshot {
            token,
            body: text,
            state: "pending".into(),
            tags: body["Tags"].as_array().unwrap().iter().map(tag).collect(),
            gib: body["VolumeSize"].as_u64().unwrap(),
            ..FakeSnapshot::default()
        };
        self.snapshots.insert(id.clone(), snapshot);
        answer(&id)
    }

    fn describe_snapshots(&mut self, form: &BTreeMap<String, String>) -> Reply {
        assert_eq!(form["Owner.1"], "self", "of other accounts nothing is wanted");
        let wanted = form.get("SnapshotId.1");
        if wanted.is_some_and(|id| !self.snapshots.contains_key(id)) {
            return refusal(400, "InvalidSnapshot.NotFound");
        }
        let mut list = String::new();
        for (id, s) in &mut self.snapshots {
            if s.delay > 0 && wanted == Some(id) {
                s.delay -= 1;
                if s.delay == 0 {
                    s.state = "completed".into();
                }
            }
            let is = |name: &str, value: &str| match name {
                "status" => s.state == value,
                "volume-size" => s.gib.to_string() == value,
                "encrypted" => value != "true",
                tag => s.tags.get(tag.strip_prefix("tag:").unwrap()).is_some_and(|v| v == value),
            };
            if wanted.is_none_or(|w| w == id) && filters(form).iter().all(|(n, v)| is(n, v)) {
                let (state, tags) = (&s.state, xml(&s.tags));
                list.push_str(&format!(
                    "<item><snapshotId>{id}</snapshotId><ownerId>1234</ownerId><status>{state}</status>{tags}</item>"
                ));
            }
        }
        Reply::new(200, format!("<R><snapshotSet>{list}</snapshotSet></R>"))
    }

    fn register(&mut self, form: BTreeMap<String, String>) -> Reply {
        if self.images.values().any(|i| i.form["Name"] == form["Name"]) {
            return refusal(400, "InvalidAMIName.Duplicate");
        }
        if self.snapshots[&form["BlockDeviceMapping.1.Ebs.SnapshotId"]].state != "completed" {
            return refusal(400, "InvalidSnapshot.NotReady");
        }
        let id = format!("ami-{:04}", self.images.len() + 1);
        let image = Thing { state: "pending".into(), tags: tags_of(&form), form };
        self.images.insert(id.clone(), image);
        Reply::new(200, format!("<R><imageId>{id}</imageId></R>"))
    }

    fn describe_images(&mut self, form: &BTreeMap<String, String>) -> Reply {
        let mut list = String::new();
        for (id, image) in &mut self.images {
            let named = filters(form).iter().all(|(n, v)| n == "name" && *v == image.form["Name"]);
            if form.get("ImageId.1").is_some_and(|w| w != id) || !named {
                continue;
            }
            let (name, state, tags) = (&image.form["Name"], image.state.clone(), xml(&image.tags));
            let disk = &image.form["BlockDeviceMapping.1.Ebs.SnapshotId"];
            image.state = "available".into();
            list.push_str(&format!(
                "<item><imageId>{id}</imageId><imageState>{state}</imageState><name>{name}</name>{tags}<blockDeviceMapping><item>\
                 <ebs><snapshotId>{disk}</snapshotId></ebs></item></blockDeviceMapping></item>"
            ));
        }
        Reply::new(200, format!("<R><imagesSet>{list}</imagesSet></R>"))
    }

    fn run(&mut self, form: BTreeMap<String, String>) -> Reply {
        let token = &form["ClientToken"];
        assert!(token.len() <= 64);
        if let Some((id, old)) = self.instances.iter().find(|(_, i)| i.form["ClientToken"] == *token) {
            return match old.state.as_str() {
                "terminated" => refusal(400, "IdempotentInstanceTerminated"),
                state => Reply::new(200, format!("<R><instancesSet>{}</instancesSet></R>", instance(id, state))),
            };
        }
        let id = format!("i-{:04}", self.instances.len() + 1);
        let made = instance(&id, "pending");
        self.instances.insert(id, Thing { state: "pending".into(), tags: tags_of(&form), form });
        Reply::new(200, format!("<R><instancesSet>{made}</instancesSet></R>"))
    }

    fn describe_instances(&mut self, form: &BTreeMap<String, String>) -> Reply {
        let tag = form.get("Filter.1.Name").and_then(|n| n.strip_prefix("tag:"));
        let mut list = String::new();
        for (id, i) in &mut self.instances {
            let tagged = tag.is_none_or(|t| i.tags.get(t) == Some(&form["Filter.1.Value.1"]) && i.state != "terminated");
            if form.get("InstanceId.1").is_none_or(|w| w == id) && tagged {
                list.push_str(&format!("<item><instancesSet>{}</instancesSet></item>", instance(id, &i.state)));
                if i.state == "pending" {
                    i.state = "running".into();
                }
            }
        }
        Reply::new(200, format!("<R><reservationSet>{list}</reservationSet></R>"))
    }
}

fn instance(id: &str, state: &str) -> String {
    format!(
        "<item><instanceId>{id}</instanceId><instanceState><name>{state}</name></instanceState>\
         <privateIpAddress>10.0.0.7</privateIpAddress></item>"
    )
}

/// The first value of each filter.
fn filters(form: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let get = |n: usize, part: &str| form.get(&format!("Filter.{n}.{part}")).cloned();
    (1..9).map_while(|n| Some((get(n, "Name")?, get(n, "Value.1")?))).collect()
}
