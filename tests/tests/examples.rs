//! The examples: every file parses, every reference is declared, and what machines are told is what they read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use cluster_seed::cluster::ClusterSpec;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::join::{Given, SEED, TOKEN, nocloud};
use cluster_seed::plan::Plan;
use cluster_seed::seal::{SigningKey, key_text};
use cluster_seed::site_key;
use hcl::eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType};
use hcl::{Body, Value};
use kubedos_tests::tool;
use web::api::{EnrollmentView, MachineRow};

const PROVIDERS: [&str; 4] = ["bpg/proxmox", "dmacvicar/libvirt", "hashicorp/aws", "hashicorp/http"];
const TOKEN_TEXT: &str = "kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// All files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The files of one module.
struct Module {
    name: String,
    bodies: Vec<Body>,
    /// Without comments.
    text: String,
}

impl Module {
    fn blocks<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a hcl::Block> {
        self.bodies.iter().flat_map(Body::blocks).filter(move |b| b.identifier() == kind)
    }

    /// First labels of the blocks of a kind.
    fn named(&self, kind: &str) -> BTreeSet<String> {
        self.blocks(kind).map(|b| b.labels()[0].as_str().to_owned()).collect()
    }

    fn locals(&self) -> BTreeMap<String, &hcl::Expression> {
        self.blocks("locals").flat_map(|b| b.body().attributes()).map(|a| (a.key().to_owned(), a.expr())).collect()
    }

    /// What follows `prefix` where it is used in an expression.
    fn used(&self, prefix: &str) -> BTreeSet<String> {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let starts = self.text.match_indices(prefix).filter(|(at, _)| {
            let before = self.text[..*at].chars().next_back();
            !before.is_some_and(|c| part(c) || c == '.')
        });
        let rest = |(at, _): (usize, &str)| self.text[at + prefix.len()..].chars().take_while(|c| part(*c)).collect::<String>();
        starts.map(rest).filter(|name| !name.is_empty()).collect()
    }
}

fn module(dir: &Path, ending: &str) -> Module {
    let (mut bodies, mut text) = (Vec::new(), String::new());
    for path in files(dir).into_iter().filter(|p| p.to_string_lossy().ends_with(ending)) {
        let file = fs::read_to_string(&path).unwrap();
        bodies.push(hcl::parse(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        let code = file.lines().filter(|l| !l.trim_start().starts_with('#'));
        code.for_each(|line| text.extend([line, "\n"]));
    }
    assert!(!bodies.is_empty(), "{}", dir.display());
    Module { name: dir.display().to_string(), bodies, text }
}

fn terraform() -> Vec<Module> {
    let of = |name: &str| module(&examples().join("terraform").join(name), ".tf");
    ["proxmox", "libvirt", "aws", "api"].map(of).into()
}

/// Everything that is used is declared, and the reverse.
fn check_references(module: &Module) {
    assert_eq!(module.used("var."), module.named("variable"), "{}: variables", module.name);
    let locals: BTreeSet<String> = module.locals().into_keys().collect();
    assert_eq!(module.used("local."), locals, "{}: locals", module.name);
    let mut resources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for block in module.blocks("resource") {
        resources.entry(block.labels()[0].as_str()).or_default().insert(block.labels()[1].as_str());
    }
    for (kind, names) in resources {
        let used = module.used(&format!("{kind}."));
        assert!(used.iter().all(|u| names.contains(u.as_str())), "{}: {kind}: {used:?} {names:?}", module.name);
    }
}

#[test]
fn every_reference_of_the_examples_and_of_packers_template_is_declared() {
    terraform().iter().for_each(check_references);
    let packer = module(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/assets/packer"), ".pkr.hcl");
    check_references(&packer);
    for module in terraform().iter().chain([&packer]) {
        for variable in module.blocks("variable") {
            let has = |key: &str| variable.body().attributes().any(|a| a.key() == key);
            assert!(has("type") && has("description"), "{}: {}", module.name, variable.labels()[0].as_str());
        }
    }
}

#[test]
fn only_these_providers_are_fetched_in_one_version_each() {
    let mut sources = BTreeSet::new();
    for module in terraform() {
        let required =
            module.blocks("terraform").flat_map(|b| b.body().blocks()).find(|b| b.identifier() == "required_providers");
        for provider in required.unwrap().body().attributes() {
            let value = provider.expr().evaluate(&Context::new()).unwrap();
            let text = |key: &str| value.as_object().unwrap().get(key).unwrap().as_str().unwrap().to_owned();
            let version = text("version");
            let parts: Vec<&str> = version.split('.').collect();
            assert!(parts.len() == 3 && parts.iter().all(|p| p.parse::<u32>().is_ok()), "{version} is not one version");
            let kinds = module.blocks("resource").chain(module.blocks("data")).map(|b| b.labels()[0].as_str());
            // terraform_data is a part of the program itself.
            let own = |p: Option<&str>| p == Some(provider.key()) || p == Some("terraform");
            assert!(kinds.map(|k| k.split('_').next()).all(own), "{}: another provider", module.name);
            sources.insert(text("source"));
        }
        assert_eq!(module.blocks("module").count(), 0, "{}: modules are fetched", module.name);
    }
    assert_eq!(sources, PROVIDERS.map(str::to_owned).into());
}

fn concat(args: FuncArgs) -> Result<Value, String> {
    let lists = args.iter().map(|list| list.as_array().cloned().ok_or("not a list"));
    Ok(Value::Array(lists.collect::<Result<Vec<_>, _>>()?.concat()))
}

fn join(args: FuncArgs) -> Result<Value, String> {
    let [Value::String(between), Value::Array(parts)] = &args[..] else { return Err("not a text and a list".to_owned()) };
    let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
    Ok(Value::String(parts.ok_or("not texts")?.join(between)))
}

/// The value of a local, for a seed with this site key.
fn told(module: &Module, local: &str, site: &str, token: &str) -> Value {
    let mut context = Context::new();
    context.declare_func("concat", FuncDef::builder().variadic_param(ParamType::Any).build(concat));
    context.declare_func("join", FuncDef::builder().param(ParamType::String).param(ParamType::Any).build(join));
    let given = [("seed_url", "http://10.44.0.1:8080"), ("site_key", site), ("join_token", token)];
    let given = given.map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())));
    context.declare_var("var", Value::Object(given.into_iter().collect()));
    module.locals()[local].evaluate(&context).unwrap()
}

#[test]
fn machines_read_what_the_examples_tell_them() {
    let site = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let check = |given: Given, token: &str| {
        assert_eq!((given.seed.as_deref(), given.site), (Some("http://10.44.0.1:8080"), Some(site)));
        assert_eq!(given.token.map(|t| t.to_text().to_string()).unwrap_or_default(), token);
    };
    let modules = terraform();
    let (proxmox, libvirt) = (&modules[0], &modules[1]);
    for token in ["", TOKEN_TEXT] {
        let user_data = told(proxmox, "user_data", &key_text(&site), token);
        check(nocloud::user_data(user_data.as_str().unwrap().as_bytes()).unwrap(), token);
        let words = told(libvirt, "words", &key_text(&site), token);
        check(Given::of_words(words.as_array().unwrap().iter().map(|w| w.as_str().unwrap())).unwrap(), token);
    }
}

#[test]
fn the_examples_use_no_parameter_that_the_agent_does_not_know() {
    let known = [SEED, site_key::PARAMETER, TOKEN];
    let mut found = BTreeSet::new();
    for path in files(&examples()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (at, _) in text.match_indices("kubedos.") {
            let rest = &text[at..];
            let Some((word, _)) = rest.split_once('=').filter(|(w, _)| w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'))
            else {
                continue;
            };
            assert!(known.contains(&word), "{}: {word}", path.display());
            found.insert(word.to_owned());
        }
    }
    assert_eq!(found, known.map(str::to_owned).into(), "all of them are shown");
}

#[test]
fn yaml_examples_parse_and_the_reference_fleet_is_a_cluster() {
    for path in files(&examples()).into_iter().filter(|p| p.extension().is_some_and(|e| e == "yml" || e == "yaml")) {
        let text = fs::read_to_string(&path).unwrap();
        serde_saphyr::from_str::<serde_json::Value>(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let spec = ClusterSpec::parse(&fs::read_to_string(examples().join("cluster-16.yaml")).unwrap()).unwrap();
    assert_eq!((spec.spec.nodes.len(), spec.spec.substrate.map(|s| s.hosts.len())), (16, Some(3)));
}

/// What is written after `key` in the lines of a text, without quotes.
fn written<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let values = text.lines().filter_map(move |l| l.trim().strip_prefix(key));
    values.map(|v| v.trim_start_matches([' ', '=', ':']).trim_matches('"'))
}

#[test]
fn the_api_examples_ask_for_routes_that_there_are() {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/openapi.json");
    let described: serde_json::Value = serde_json::from_str(&fs::read_to_string(at).unwrap()).unwrap();
    let playbook = fs::read_to_string(examples().join("ansible/api/plan.yml")).unwrap();
    let terraform = module(&examples().join("terraform/api"), ".tf");
    for (text, requests) in [(&terraform.text, "data \"http\""), (&playbook, "- name:")] {
        let mut asked = BTreeSet::new();
        // A request ends where the next one begins.
        for request in text.split(requests).skip(1) {
            let Some(url) = written(request, "url").find(|v| v.contains("/api/v1/")) else { continue };
            let path = url[url.find("/api/v1/").unwrap()..].split('?').next().unwrap();
            let method = written(request, "method").next().unwrap_or("GET").to_ascii_lowercase();
            assert!(described["paths"][path][&method].is_object(), "{method} {path}");
            let body = request.contains("request_body") || request.contains("body: {");
            assert_eq!(body, method == "post", "{method} {path}");
            asked.insert((method, path.to_owned()));
        }
        let expected = [("get", "nodes"), ("get", "plan"), ("post", "plan"), ("post", "plan/check")];
        assert_eq!(asked, expected.map(|(method, path)| (method.to_owned(), format!("/api/v1/{path}"))).into());
    }
}

/// Both examples write a row as `- {JSON}`.
#[test]
fn the_seed_reads_the_rows_that_the_api_examples_write() {
    let all = fs::read_to_string(examples().join("ansible/api/group_vars/all.yml")).unwrap();
    let all: serde_json::Value = serde_saphyr::from_str(&all).unwrap();
    let mut text = String::new();
    for machine in all["machines"].as_array().unwrap() {
        let mut row = serde_json::json!({"name": "", "serial": "", "mac": "", "role": "", "disk": "only", "place": ""});
        row.as_object_mut().unwrap().extend(machine.as_object().unwrap().clone());
        text.push_str(&format!("- {row}\n"));
    }
    let plan = Plan::parse(&text).unwrap();
    let rows: Vec<_> = plan.rows().iter().map(|r| (r.line, r.name.as_str(), r.serial.as_str(), r.mac.is_some())).collect();
    assert_eq!(rows, [(1, "n-1", "S5GXNX0T1", false), (2, "n-2", "", true)]);
    // What is left out comes back as the examples fill it in: they find no difference.
    let first = serde_json::to_value(&plan.rows()[0]).unwrap();
    assert_eq!(first, serde_json::json!({"line": 1, "serial": "S5GXNX0T1", "name": "n-1", "role": "base"}));
}

#[test]
fn ansible_accepts_the_playbooks() {
    if tool::find("ansible-playbook").is_none() {
        return kubedos_skip::skip("ansible-playbook", "is not installed");
    }
    // The collection is not a package of Debian: only its names are needed here.
    let dir = tempfile::tempdir().unwrap();
    let collection = dir.path().join("ansible_collections/community/proxmox");
    for folder in ["meta", "plugins/modules"] {
        fs::create_dir_all(collection.join(folder)).unwrap();
    }
    fs::write(collection.join("meta/runtime.yml"), "action_groups:\n  proxmox: [proxmox_kvm, proxmox_disk]\n").unwrap();
    for module in ["proxmox_kvm", "proxmox_disk"] {
        fs::write(collection.join(format!("plugins/modules/{module}.py")), "#!/usr/bin/python\n").unwrap();
    }
    let path = |p: PathBuf| p.display().to_string();
    for (folder, playbook) in [("proxmox", "create.yml"), ("api", "plan.yml")] {
        let at = examples().join("ansible").join(folder);
        let argv = [
            "env".to_owned(),
            format!("ANSIBLE_COLLECTIONS_PATH={}", dir.path().display()),
            format!("ANSIBLE_LOCAL_TEMP={}", path(dir.path().join("tmp"))),
            format!("ANSIBLE_HOME={}", path(dir.path().join("home"))),
            "LC_ALL=C.UTF-8".to_owned(),
            "ansible-playbook".to_owned(),
            "--syntax-check".to_owned(),
            "-i".to_owned(),
            path(at.join("hosts.yml")),
            path(at.join(playbook)),
        ];
        let out = tool::outcome(&argv).unwrap();
        assert_eq!(out.code, 0, "{playbook}: {}{}", out.stdout, out.stderr);
    }
}

fn row(id: i64, state: Option<(EnrollmentState, &str, &str)>) -> MachineRow {
    let enrollment = state.map(|(state, hostname, role)| EnrollmentView {
        id: EnrollmentId([1; 16]),
        state,
        since: 1,
        number: None,
        hostname: Some(hostname.to_owned()),
        role: Some(role.to_owned()),
        addresses: vec![("wg1".into(), format!("10.78.0.{id}")), ("wg2".into(), format!("10.79.0.{id}"))],
        wrong_codes: 0,
        progress: None,
        reason: None,
        first_yes: None,
        trouble: None,
    });
    let (mac, ip) = ("52:54:00:00:00:01".parse().unwrap(), Some("10.44.0.101".parse().unwrap()));
    MachineRow { id, mac, ip, model: String::new(), first_seen: 1, last_seen: 2, enrollment, list: None, verdict: None }
}

/// Answers the three requests of one run as the seed does; returns what was asked.
fn seed(listener: &TcpListener, machines: &str) -> Vec<String> {
    let mut asked = Vec::new();
    for (path, body) in
        [("/api/v1/login", r#"{"token":"secret"}"#), ("/api/v1/machines?page=1", machines), ("/api/v1/logout", "{}")]
    {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            text.push(char::from(byte[0]));
        }
        assert!(text.contains(&format!(" {path} HTTP/1.1")), "{text}");
        // Closing a connection with unread bytes would reset it.
        let length = text.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<u64>().ok());
        std::io::copy(&mut (&stream).take(length.unwrap_or(0)), &mut std::io::sink()).unwrap();
        asked.push(text);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).unwrap();
    }
    asked
}

#[test]
fn the_inventory_groups_the_nodes_that_the_seed_lists() {
    if tool::find("python3").is_none() {
        return kubedos_skip::skip("python3", "is not installed");
    }
    use EnrollmentState as S;
    let rows = [
        row(2, Some((S::Converged, "web-1.kubedos.lan", "load-balancer"))),
        row(3, Some((S::FabricReady, "web-2.kubedos.lan", "load-balancer"))),
        row(4, Some((S::Pending, "new.kubedos.lan", "base"))),
        row(5, None),
    ];
    let machines = serde_json::json!({ "machines": rows }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script = examples().join("ansible/proxmox/inventory/kubedos.py").display().to_string();
    let run = |url: &str| {
        let set = [format!("KUBEDOS_URL={url}"), "KUBEDOS_USER=ada".to_owned(), "KUBEDOS_PASSWORD=x".to_owned()];
        let argv = ["env".to_owned()].into_iter().chain(set).chain(["python3".into(), script.clone(), "--list".into()]);
        tool::outcome(&argv.collect::<Vec<_>>()).unwrap()
    };
    let (out, asked) = std::thread::scope(|scope| {
        let server = scope.spawn(|| seed(&listener, &machines));
        (run(&url), server.join().unwrap())
    });
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(asked[1].contains("Authorization: Bearer secret"), "{}", asked[1]);
    let found: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(found["role_load_balancer"]["hosts"], serde_json::json!(["web-1.kubedos.lan", "web-2.kubedos.lan"]));
    assert_eq!(found["state_converged"]["hosts"], serde_json::json!(["web-1.kubedos.lan"]));
    let hosts = found["_meta"]["hostvars"].as_object().unwrap();
    assert_eq!((hosts.len(), &hosts["web-2.kubedos.lan"]["ansible_host"]), (2, &serde_json::json!("10.78.0.3")));
    let refused = run("http://10.44.0.1");
    assert!(refused.code == 1 && refused.stderr.contains("https://"), "a password in clear: {}", refused.stderr);
}
