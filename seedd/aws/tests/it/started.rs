//! Instances are started once.

use aws::{AwsError, RunOptions, plan_run, run, seed_user_data};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_seed::progress::Quiet;

use crate::cloud::{self, Fault, refusal};
use crate::support::{client, target};

fn options() -> RunOptions {
    RunOptions { wait: true, ..RunOptions::new("ami-0001", "t3.small", "web-1") }
}

#[test]
fn instances_are_started_once_with_imdsv2_and_tags() {
    let aws = cloud::start();
    let mut options = options();
    options.subnet = Some("subnet-1".into());
    options.security_groups = vec!["sg-1".into(), "sg-2".into()];
    options.user_data = Some(seed_user_data("http://10.0.0.1", None));
    options.tags.insert("Team".into(), "infra".into());
    let plan = plan_run(&target(&aws.url()), &options).unwrap();
    assert!(aws.cloud().calls.is_empty(), "a plan sends nothing");
    // The answer is lost: the repeated request must not start a second one.
    let mut lost = false;
    aws.trouble(move |action, _| (action == "RunInstances" && !std::mem::replace(&mut lost, true)).then_some(Fault::Silence));
    let first = run(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((first.instances.len(), first.instances[0].state.as_str(), first.existing), (1, "running", false));
    assert_eq!(first.instances[0].private_address.as_deref(), Some("10.0.0.7"));
    let again = run(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((&again.instances, again.existing), (&first.instances, true));
    let cloud = aws.cloud();
    assert_eq!(cloud.instances.len(), 1);
    let form = &cloud.instances[&first.instances[0].id].form;
    for (key, value) in [
        ("ImageId", "ami-0001"),
        ("InstanceType", "t3.small"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SubnetId", "subnet-1"),
        ("SecurityGroupId.2", "sg-2"),
        ("MetadataOptions.HttpTokens", "required"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.2.ResourceType", "volume"),
        ("ClientToken", plan.client_token.as_str()),
    ] {
        assert_eq!(form[key], value, "{key}");
    }
    assert!(!form.contains_key("KeyName"), "no key of the account gets into a node");
    assert_eq!(STANDARD.decode(&form["UserData"]).unwrap(), options.user_data.unwrap().into_bytes());
}

#[test]
fn other_options_are_other_instances() {
    let aws = cloud::start();
    run(&client(&aws.url()), &options(), &Quiet).unwrap();
    run(&client(&aws.url()), &RunOptions { name: "web-2".into(), ..options() }, &Quiet).unwrap();
    assert_eq!(aws.cloud().instances.len(), 2);
}

#[test]
fn a_terminated_instance_is_replaced() {
    let aws = cloud::start();
    for n in 1..4 {
        let made = run(&client(&aws.url()), &options(), &Quiet).unwrap();
        assert_eq!((made.existing, aws.cloud().instances.len()), (false, n));
        aws.cloud().instances.values_mut().for_each(|i| i.state = "terminated".into());
    }
}

#[test]
fn an_instance_that_does_not_come_up_is_an_error() {
    let aws = cloud::start();
    run(&client(&aws.url()), &RunOptions { wait: false, ..options() }, &Quiet).unwrap();
    aws.cloud().instances.values_mut().for_each(|i| i.state = "stopping".into());
    let error = run(&client(&aws.url()), &options(), &Quiet).unwrap_err();
    assert!(matches!(&error, AwsError::Instance { state, .. } if state == "stopping"), "{error}");
}

#[test]
fn a_quota_is_named() {
    let aws = cloud::start();
    aws.trouble(|action, _| (action == "RunInstances").then(|| Fault::Instead(refusal(400, "VcpuLimitExceeded"))));
    let error = run(&client(&aws.url()), &options(), &Quiet).unwrap_err();
    assert!(error.hint().contains("quota") && aws.count("RunInstances") == 1, "{error}");
    let wrong = RunOptions { image_id: "disk.raw".into(), ..options() };
    let before = aws.cloud().calls.len();
    assert!(matches!(run(&client(&aws.url()), &wrong, &Quiet), Err(AwsError::Option { option: "imageId", .. })));
    assert_eq!(aws.cloud().calls.len(), before, "nothing is sent with a wrong option");
}
