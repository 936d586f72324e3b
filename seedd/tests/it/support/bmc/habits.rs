//! How the simulated controller answers.

use super::*;

impl Machine {
    pub fn answer(&mut self, request: &Request) -> Response {
        let response = self.judge(request);
        self.log.push(format!("{} {} {} -> {}", request.method, request.path, request.body, response.status));
        let mut response = response;
        if self.has(Quirk::ByteOrderMark) && !response.body.is_empty() {
            response.body.splice(0..0, *b"\xef\xbb\xbf");
        }
        response
    }

    fn judge(&mut self, request: &Request) -> Response {
        use Quirk as Q;
        let (method, path) = (request.method.as_str(), request.path.trim_end_matches('/').to_owned());
        if self.has(Q::RootWithoutSlash) && request.path == format!("{V}/") {
            return refuse(404, "no such resource");
        }
        let redirect = |to: String| Response { headers: vec![("Location", to)], ..say(308, &Value::Null) };
        if !request.path.ends_with('/') && self.has(Q::SlashRedirect) {
            return redirect(format!("{}/", request.path));
        }
        if !request.path.ends_with('/') && self.has(Q::AbsoluteRedirect) {
            return redirect(format!("{}{}/", self.origin, request.path));
        }
        if self.has(Q::ForeignRedirect) && path.ends_with("/Systems") {
            return redirect("https://evil.example/redfish/v1/Systems".to_owned());
        }
        if let Some(refused) = self.login(request, &path) {
            return refused;
        }
        if self.has(Q::Busy) && self.busy > 0 && path != V {
            self.busy -= 1;
            return Response { headers: vec![("Retry-After", "1".to_owned())], ..refuse(503, "try later") };
        }
        match method {
            "GET" if path.starts_with("/tasks/") || path.contains("/TaskService/") => self.look_at_task(),
            "GET" => match self.resource(&path) {
                Some(body) if body["@odata.etag"].is_string() => {
                    let tag = body["@odata.etag"].as_str().unwrap().to_owned();
                    Response { headers: vec![("ETag", tag)], ..say(200, &body) }
                }
                Some(body) => say(200, &body),
                None if path.ends_with("/Systems/Broken") => refuse(500, "internal error"),
                None => refuse(404, "no such resource"),
            },
            "DELETE" => {
                self.sessions -= 1;
                say(204, &Value::Null)
            }
            _ => self.change(request, &path),
        }
    }

    fn login(&mut self, request: &Request, path: &str) -> Option<Response> {
        let no = || Some(refuse(401, "no valid session"));
        if self.has(Quirk::WrongPassword) && path != V {
            return no();
        }
        if request.method == "POST" && path == format!("{V}/SessionService/Sessions") {
            if request.body["UserName"] != USER || request.body["Password"] != PASSWORD {
                return no();
            }
            self.sessions += 1;
            let at = format!("{path}/1");
            let headers = vec![("X-Auth-Token", "t0k3n".to_owned()), ("Location", at.clone())];
            return Some(Response { headers, ..say(201, &link(&at)) });
        }
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let basic = !self.has(Quirk::SessionsOnly) && request.header("authorization") == Some(&basic);
        if path == V || basic || (self.sessions > 0 && request.header("x-auth-token") == Some("t0k3n")) { None } else { no() }
    }

    fn resource(&self, path: &str) -> Option<Value> {
        use Quirk as Q;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let rest = path.strip_prefix(V)?;
        Some(match rest {
            "" if self.has(Q::EvilLinks) => {
                json!({ "Systems": link("http://evil/redfish/v1/Systems"), "Managers": link("/admin") })
            }
            "" => json!({ "Systems": link(&format!("{V}/Systems")), "Managers": link(&format!("{V}/Managers")),
                          "SessionService": link(&format!("{V}/SessionService")) }),
            "/Systems" => self.systems(query),
            "/Managers" => list(&[format!("{V}/Managers/m")]),
            "/Managers/m" => {
                let servers = if self.has(Q::SharedManager) { json!([link(&format!("{V}/Systems/Other"))]) } else { Value::Null };
                let media = if self.has(Q::MediaOfSystem) { Value::Null } else { link(VM) };
                json!({ "@odata.id": path, "VirtualMedia": media, "Links": { "ManagerForServers": servers } })
            }
            _ => return self.below(path, rest),
        })
    }

    fn below(&self, path: &str, rest: &str) -> Option<Value> {
        use Quirk as Q;
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        let names = self.names();
        Some(match parts.as_slice() {
            ["Systems", "Gone" | "Broken", ..] => return None,
            ["Systems", name] if names.iter().any(|n| n == name) => self.system(name),
            ["Systems", _, "EthernetInterfaces"] => list(&[format!("{path}/1")]),
            ["Systems", name, "EthernetInterfaces", _] => json!({ "@odata.id": path, "MACAddress": self.mac(name) }),
            ["Systems", _, "NetworkInterfaces"] => list(&[format!("{path}/card")]),
            ["Systems", _, "NetworkInterfaces", "card"] => {
                json!({ "NetworkDeviceFunctions": link(&format!("{path}/Functions")) })
            }
            ["Systems", _, "NetworkInterfaces", "card", "Functions"] => list(&[format!("{path}/f")]),
            ["Systems", name, .., "Functions", "f"] => json!({ "Ethernet": { "PermanentMACAddress": self.mac(name) } }),
            ["Systems", _, "ResetActionInfo"] if self.has(Q::ResetInfo) => {
                json!({ "Parameters": [{ "Name": "ResetType", "AllowableValues": ["On", "ForceOff", "ForceRestart"] }] })
            }
            ["Systems", _, "SD"] if self.has(Q::BareSettings) => json!({ "@odata.id": path }),
            ["Systems", name, "SD"] => json!({ "@odata.id": path, "Boot": self.system(name)["Boot"] }),
            ["Systems", _, "VirtualMedia"] if self.has(Q::MediaOfManager) => list(&[]),
            [.., "VirtualMedia"] => list(&self.drives().iter().map(|d| format!("{path}/{d}")).collect::<Vec<_>>()),
            [.., "VirtualMedia", name] if self.drives().contains(name) => self.drive(path),
            [.., "InsertInfo"] => json!({ "Parameters": [
                { "Name": "Image", "Required": true }, { "Name": "TransferMethod", "Required": true },
                { "Name": "TransferProtocolType", "Required": true, "AllowableValues": ["HTTPS", "NFS"] }] }),
            _ => return None,
        })
    }

    fn mac(&self, name: &str) -> Value {
        match name {
            "1" if self.has(Quirk::PlainMac) => json!(MAC.replace(':', "").to_uppercase()),
            "1" if self.has(Quirk::OtherMachines) => json!("02:00:00:00:00:02"),
            "1" => json!(MAC),
            _ if self.has(Quirk::NullFields) => Value::Null,
            _ => json!("02:00:00:00:00:01"),
        }
    }

    fn systems(&self, query: &str) -> Value {
        let all: Vec<String> = self.names().iter().map(|n| format!("{V}/Systems/{n}")).collect();
        let next = format!("{V}/Systems?$skip=");
        if self.has(Quirk::LoopingPages) {
            let mut part = list(&all);
            part["Members@odata.nextLink"] = json!(format!("{next}0"));
            return part;
        }
        if self.has(Quirk::NullFields) {
            return json!({ "Members": [null, link(&all[0]), {}, link(&all[1]), 7], "Members@odata.nextLink": null });
        }
        if !self.has(Quirk::Pages) {
            return list(&all);
        }
        let skip: usize = query.strip_prefix("$skip=").map_or(0, |n| n.parse().unwrap());
        let mut part = list(&all[skip..all.len().min(skip + 2)]);
        if skip + 2 < all.len() {
            part["Members@odata.nextLink"] = json!(format!("{next}{}", skip + 2));
        }
        part
    }

    fn precondition(&mut self, request: &Request) -> Option<Response> {
        use Quirk as Q;
        let given = request.header("if-match");
        let current = self.tag();
        let demanded =
            request.method == "PATCH" && self.has(Q::IfMatch) || request.method == "POST" && self.has(Q::ActionWantsIfMatch);
        match given {
            None if demanded => return Some(refuse(428, "a precondition header is missing")),
            Some(_) if self.has(Q::NoIfMatch) => return Some(refuse(412, "the ETag does not match")),
            // RFC 9110, 13.1.1: a weak ETag never matches.
            Some(tag) if tag.starts_with("W/") => return Some(refuse(412, "the ETag does not match")),
            Some(tag) if tag != "*" && current.trim_start_matches("W/") != tag => {
                return Some(refuse(412, "the ETag does not match"));
            }
            None if self.has(Q::StaleEtag) && request.method == "PATCH" => {
                return Some(refuse(428, "a precondition header is missing"));
            }
            _ => {}
        }
        // It changes while nobody looks: what was read before the first change is stale.
        if self.has(Q::StaleEtag) && self.etag == 1 && request.method == "PATCH" {
            self.etag += 1;
            return Some(refuse(412, "the ETag does not match"));
        }
        None
    }

    fn change(&mut self, request: &Request, path: &str) -> Response {
        use Quirk as Q;
        if let Some(refused) = self.precondition(request) {
            return refused;
        }
        if let Some(refused) = self.check(request, path) {
            return refused;
        }
        self.etag += 1;
        let monitor = Response { headers: vec![("Location", "/tasks/1".to_owned())], ..say(202, &Value::Null) };
        let state = json!({ "@odata.id": format!("{V}/TaskService/Tasks/1"), "TaskState": "Running" });
        match () {
            () if self.has(Q::Ignores) => say(204, &Value::Null),
            () if self.has(Q::Tasks) || self.has(Q::TasksFail) || self.has(Q::TasksStay) => {
                self.task = Some((0, path.to_owned(), request.body.clone()));
                monitor
            }
            () if self.has(Q::TasksInBody) => {
                self.task = Some((0, path.to_owned(), request.body.clone()));
                say(202, &state)
            }
            () => {
                self.carry_out(path, &request.body);
                match () {
                    () if self.has(Q::LostAnswers) || self.has(Q::LostRestarts) => say(0, &Value::Null),
                    () if self.has(Q::TasksForgotten) => monitor,
                    () => say(204, &Value::Null),
                }
            }
        }
    }

    fn look_at_task(&mut self) -> Response {
        let Some((looks, path, body)) = self.task.take() else { return refuse(404, "no such task") };
        if self.has(Quirk::TasksStay) || looks < 2 {
            self.task = Some((looks + 1, path, body));
            let status = if self.has(Quirk::TasksInBody) { 200 } else { 202 };
            return say(status, &json!({ "TaskState": "Running" }));
        }
        if self.has(Quirk::TasksFail) {
            let messages = json!([{ "Message": "the image cannot be fetched" }]);
            return say(200, &json!({ "TaskState": "Exception", "TaskStatus": "Critical", "Messages": messages }));
        }
        self.carry_out(&path, &body);
        say(200, &json!({ "TaskState": "Completed", "TaskStatus": "OK" }))
    }

    /// Refuses what this controller does not take.
    fn check(&self, request: &Request, path: &str) -> Option<Response> {
        use Quirk as Q;
        let body = &request.body;
        let system = format!("{V}/Systems/1");
        let is_drive = path.contains("/VirtualMedia/");
        if path == format!("{system}/Actions/ComputerSystem.Reset") {
            return self.check_reset(body["ResetType"].as_str().unwrap_or_default());
        }
        if is_drive {
            return self.check_drive(request, path);
        }
        let settings = self.has(Q::Settings) || self.has(Q::BareSettings);
        let right = if settings { format!("{system}/SD") } else { system };
        if request.method != "PATCH" || path != right {
            return Some(refuse(405, "read only"));
        }
        if self.has(Q::ModeNotWritable) && body["Boot"].get("BootSourceOverrideMode").is_some() {
            return Some(refuse(400, "the property BootSourceOverrideMode is read only"));
        }
        None
    }

    fn check_reset(&self, kind: &str) -> Option<Response> {
        use Quirk as Q;
        let info = self.has(Q::ResetInfo) || self.has(Q::ResetInfoGone);
        let allowed: &[&str] = match () {
            () if self.has(Q::OtherCase) => &["on", "forceoff", "forcerestart"],
            () if self.has(Q::NoPowerCycle) => &["On", "ForceOff"],
            () if info => &["On", "ForceOff", "ForceRestart"],
            () => &["On", "ForceOff", "ForceRestart", "PowerCycle"],
        };
        if !allowed.contains(&kind) {
            return Some(refuse(400, "not an acceptable value of ResetType"));
        }
        None
    }

    fn check_drive(&self, request: &Request, path: &str) -> Option<Response> {
        use Quirk as Q;
        let name = path[path.find("/VirtualMedia/").unwrap() + 14..].split('/').next().unwrap();
        let body = request.body.as_object().cloned().unwrap_or_default();
        if name != self.right_drive() || (request.method == "POST") != self.acts(name) {
            return Some(refuse(if request.method == "POST" { 404 } else { 405 }, "not on this drive"));
        }
        if path.ends_with("EjectMedia") {
            return (!self.media.contains_key(name)).then(|| refuse(400, "nothing is inserted"));
        }
        let image = body.get("Image").and_then(Value::as_str).unwrap_or_default();
        let why = match () {
            () if self.has(Q::LicenceNeeded) => return Some(refuse(403, "a licence is needed")),
            () if self.has(Q::ImageAlone) && body.keys().any(|k| k != "Image") => "a parameter is not supported",
            () if self.has(Q::NeedProtocol) && !body.contains_key("TransferProtocolType") => "TransferProtocolType is required",
            () if self.has(Q::HttpsOnly) && !image.is_empty() && !image.starts_with("https://") => "the format is not recognized",
            () if self.has(Q::OnlyHttpsListed) && !image.starts_with("https://") => "HTTP is not supported",
            () if self.has(Q::DescribedInsert) => {
                let keys: Vec<&str> = body.keys().map(String::as_str).collect();
                let fits = keys == ["Image", "TransferMethod", "TransferProtocolType"] && image.starts_with("https://");
                return (!fits).then(|| refuse(400, "not as described"));
            }
            () => return None,
        };
        Some(refuse(400, why))
    }

    fn carry_out(&mut self, path: &str, body: &Value) {
        if path.ends_with("ComputerSystem.Reset") {
            let kind = body["ResetType"].as_str().unwrap().to_owned();
            self.power = if kind.eq_ignore_ascii_case("ForceOff") { "Off" } else { "On" }.to_owned();
            self.resets.push(kind);
        } else if path.contains("/VirtualMedia/") {
            let name = path[path.find("/VirtualMedia/").unwrap() + 14..].split('/').next().unwrap().to_owned();
            match body.get("Image").and_then(Value::as_str).filter(|i| !i.is_empty()) {
                Some(image) => self.media.insert(name, image.to_owned()),
                None => self.media.remove(&name),
            };
        } else {
            let text = |key: &str, usual: &str| body["Boot"][key].as_str().unwrap_or(usual).to_owned();
            let usual = if self.has(Quirk::ModeFallsBack) { "Legacy".to_owned() } else { self.boot[2].clone() };
            let enabled =
                if self.has(Quirk::SetsContinuous) { "Continuous".to_owned() } else { text("BootSourceOverrideEnabled", "Once") };
            self.boot = [text("BootSourceOverrideTarget", "None"), enabled, text("BootSourceOverrideMode", &usual)];
            self.boot_at = path.to_owned();
        }
    }
}
