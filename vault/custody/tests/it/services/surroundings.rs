//! What a process finds around itself moves no driver: variables that name another endpoint or a proxy, beside credentials
//! that the clients' own chain is to find. Each case runs in a process of its own, which has them from its start.

use std::process::Command;

use cofre_custody::aws::{self, AwsKms};
use cofre_custody::gcp::{self, GcpKms};
use cofre_custody::{Cause, Fault};
use cofre_testkit::kms::{CALLER, Kind, Kms, REGION, SECRET};

use super::CALM;
use crate::bench::{HandClock, custodian, slab};
use crate::contract::{KEY, runtime};
use crate::site::{Form, Served};

const FORM: &str = "SURROUNDINGS_FORM";
const ENDPOINT: &str = "SURROUNDINGS_ENDPOINT";
const EXPECTED: &str = "SURROUNDINGS_EXPECTED";
const SERVES: &str = "serves";

/// Opens a driver at the endpoint it is told; among the parents it has nothing to do.
#[test]
fn child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let found = runtime().block_on(async {
        match std::env::var(FORM).as_deref() {
            Ok("aws") => by_aws(endpoint).await,
            _ => by_google(endpoint).await,
        }
    });
    let found = found.map_or_else(|fault| fault.cause.as_str(), |()| SERVES);
    assert_eq!(Ok(found), std::env::var(EXPECTED).as_deref());
}

async fn by_aws(endpoint: String) -> Result<(), Fault> {
    let (id, key, region) = (custodian("kms-1"), Kms::arn(KEY), REGION.to_owned());
    let settings = aws::Settings { id, key, region, endpoint, signer_key: None, patience: CALM };
    AwsKms::connect(settings, aws::Credentials::Default, &slab()).await.map(drop)
}

async fn by_google(endpoint: String) -> Result<(), Fault> {
    let (id, key) = (custodian("kms-1"), Kms::resource(KEY));
    let settings = gcp::Settings { id, key, endpoint, signer_key: None, patience: CALM };
    let bearer = gcp::Credentials::Bearer(CALLER.to_owned().into());
    GcpKms::connect(settings, bearer, std::sync::Arc::new(HandClock::default()), &slab()).await.map(drop)
}

fn run(form: &str, served: &Served, expected: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "services::surroundings::child"]);
    for name in ["NO_PROXY", "no_proxy", "AWS_PROFILE", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command.env(FORM, form).env(ENDPOINT, served.kms.endpoint()).env(EXPECTED, expected);
    let output = command.envs(variables.iter().copied()).output().expect("starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{form} with {variables:?}: {said}");
}

#[test]
fn awss_own_chain_finds_who_we_are_and_nothing_it_finds_moves_the_endpoint() {
    runtime().block_on(async {
        let (served, other) = (Served::start(Form::Aws, Kind::P256).await, Kms::start().await.expect("a port"));
        let elsewhere = other.endpoint();
        let of_us = [("AWS_ACCESS_KEY_ID", CALLER), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        let moved = [
            ("AWS_ENDPOINT_URL", elsewhere.as_str()),
            ("AWS_ENDPOINT_URL_KMS", elsewhere.as_str()),
            ("AWS_USE_FIPS_ENDPOINT", "true"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
            ("AWS_REGION", "us-east-1"),
        ];
        run("aws", &served, SERVES, &[&of_us[..], &moved].concat());
        assert!(served.kms.count(KEY, "Encrypt") > 0);
        let wrong = [("AWS_ACCESS_KEY_ID", "AKIASOMEBODY"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        run("aws", &served, Cause::Denied.as_str(), &wrong);
        assert_eq!(other.requests(), 0, "a variable moved the endpoint");
    });
}

#[test]
fn plain_text_is_shown_to_no_proxy_of_the_environment() {
    runtime().block_on(async {
        let other = Kms::start().await.expect("a port");
        let proxy = other.endpoint();
        let of_us = [("AWS_ACCESS_KEY_ID", CALLER), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        for (form, served) in
            [("aws", Served::start(Form::Aws, Kind::P256).await), ("gcp", Served::start(Form::Gcp, Kind::P256).await)]
        {
            for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
                let refused = [&of_us[..], &[(name, proxy.as_str())]].concat();
                run(form, &served, Cause::EndpointWrong.as_str(), &refused);
                assert_eq!(served.kms.requests(), 0, "it was asked all the same");
            }
            let left_out = [&of_us[..], &[("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "127.0.0.1")]].concat();
            run(form, &served, SERVES, &left_out);
        }
        assert_eq!(other.requests(), 0, "the proxy saw a call");
    });
}
