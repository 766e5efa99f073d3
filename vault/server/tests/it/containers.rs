//! The container file and the compose file, by the rules that make them safe. Nothing is built here: that needs an engine.

use std::collections::{BTreeMap, BTreeSet};

use yaml_rust2::Yaml;

use crate::folder::{deploy, text, yaml};

/// Instructions of the container file, with continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let file = text("Containerfile").replace("\\\n", " ");
    let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            (word.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

#[test]
fn the_image_has_two_given_bases_no_shell_and_no_root() {
    let all = instructions();
    let known = ["ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    assert!(all.iter().all(|(word, _)| known.contains(&word.as_str())), "{all:?}");
    let of =
        |word: &str| all.iter().filter(|(each, _)| each == word).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>();
    // Without a default: whoever builds says by digest what from.
    assert_eq!(of("ARG"), ["BUILDER", "RUNTIME"]);
    assert_eq!(of("FROM"), ["${BUILDER} AS build", "${RUNTIME}"]);
    let last = all.iter().rposition(|(word, _)| word == "FROM").expect("a stage");
    assert!(all[last..].iter().all(|(word, _)| word != "RUN"), "the image that runs has no shell to run it with");
    assert_eq!(of("USER"), ["65532:65532"]);
    assert_eq!(of("ENTRYPOINT"), ["[\"/usr/bin/cofred\"]"]);
    assert!(of("CMD").iter().all(|list| list.starts_with('[')), "the form that needs no shell");
    let build = of("RUN").concat();
    assert!(build.contains("--locked") && build.contains("--release"), "{build}");
    for name in ["hsm-sim", "cofre-demo", "testkit", "xtask"] {
        assert!(!build.contains(name) && of("COPY").iter().all(|copy| !copy.contains(name)), "{name} is never shipped");
    }
    // What is copied from the checkout is there, and not held back by the ignore file.
    let let_in: BTreeSet<String> = text("Containerfile.dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .collect();
    for copy in of("COPY").iter().filter(|copy| !copy.contains("--from=") && !copy.starts_with(". ")) {
        let source = copy.split(' ').find(|word| !word.starts_with("--")).expect("a source");
        assert!(deploy("..").join(source).exists(), "{source}");
        assert!(let_in.contains(source.split('/').next().expect("a folder")), "{source}");
    }
    for path in &let_in {
        assert!(deploy("..").join(path).exists(), "{path}");
    }
}

fn words(list: &Yaml) -> Vec<&str> {
    list.as_vec().into_iter().flatten().filter_map(Yaml::as_str).collect()
}

/// A key of a service, or of what it is merged from.
fn key<'a>(service: &'a Yaml, name: &str) -> &'a Yaml {
    match &service[name] {
        Yaml::BadValue => &service["<<"][name],
        own => own,
    }
}

#[test]
fn every_container_is_without_powers_and_gets_its_secrets_as_files() {
    let file = yaml("compose.yaml");
    let services = file["services"].as_hash().expect("services");
    let names: Vec<&str> = services.keys().filter_map(Yaml::as_str).collect();
    assert_eq!(names, ["cofred", "migrate", "records-db", "ciphertexts-db", "keyring-db", "collector"]);
    for (name, service) in services {
        let name = name.as_str().expect("a name");
        let image = key(service, "image").as_str().expect("an image");
        assert!(image.starts_with("${") && image.contains(":?"), "{name}: {image} has no default");
        assert_eq!(words(key(service, "cap_drop")), ["ALL"], "{name}");
        assert_eq!(words(key(service, "security_opt")), ["no-new-privileges:true"], "{name}");
        assert!(key(service, "privileged").is_badvalue() && key(service, "pid").is_badvalue(), "{name}");
        for secret in key(service, "secrets").as_vec().expect("secrets") {
            let source = secret.as_str().or_else(|| secret["source"].as_str()).expect("a source");
            let path = file["secrets"][source]["file"].as_str();
            assert!(path.is_some_and(|path| path.starts_with("./secrets/")), "{name}: {source}");
        }
        if let Some(variables) = key(service, "environment").as_hash() {
            for (variable, value) in variables {
                let variable = variable.as_str().expect("a name");
                assert!(!variable.contains("PASSWORD") || variable.ends_with("_FILE"), "{name}: {variable} {value:?}");
            }
        }
        for volume in key(service, "volumes").as_vec().into_iter().flatten() {
            if volume["type"].as_str() == Some("bind") {
                assert_eq!(volume["read_only"].as_bool(), Some(true), "{name}: {volume:?}");
                let source = volume["source"].as_str().expect("a source");
                let by_the_operator = ["./identity", "./pkcs11"].iter().any(|made| source.starts_with(made));
                assert!(by_the_operator || deploy(source).exists(), "{name}: {source}");
            }
        }
    }
    for name in ["cofred", "migrate", "collector"] {
        let service = &file["services"][name];
        assert_eq!(service["read_only"].as_bool(), Some(true), "{name}");
        assert!(service["user"].as_str().is_some_and(|user| !user.starts_with('0')), "{name}");
    }
    // What the collector takes in plain text never leaves the vault's own loopback.
    assert_eq!(file["services"]["collector"]["network_mode"].as_str(), Some("service:cofred"));
    assert_eq!(file["services"]["cofred"]["ulimits"]["memlock"]["hard"].as_i64(), Some(32 << 20));
    assert_eq!(file["services"]["cofred"]["ulimits"]["core"]["hard"].as_i64(), Some(0));
}

/// Each database is on a network that only the vault shares, and has one store's secrets.
#[test]
fn databases_are_apart() {
    let file = yaml("compose.yaml");
    for store in ["records", "ciphertexts", "keyring"] {
        let service = &file["services"][format!("{store}-db").as_str()];
        assert_eq!(words(&service["networks"]), [store]);
        assert_eq!(file["networks"][store]["internal"].as_bool(), Some(true), "{store}");
        assert!(service["ports"].is_badvalue() && service["<<"]["ports"].is_badvalue(), "{store}");
        let environment = match &service["environment"]["COFRE_STORE"] {
            Yaml::BadValue => &service["environment"]["<<"]["COFRE_STORE"],
            own => own,
        };
        assert_eq!(environment.as_str(), Some(store));
        for secret in service["secrets"].as_vec().expect("secrets") {
            assert!(secret["source"].as_str().is_some_and(|source| source.starts_with(store)), "{store}: {secret:?}");
        }
        let command = key(service, "command");
        assert!(words(command).contains(&"ssl=on"), "{store}");
    }
    let vault: Vec<&str> = words(&file["services"]["cofred"]["secrets"]);
    assert_eq!(vault, ["node-key", "hsm-1-pin", "records", "ciphertexts", "keyring"], "no owner's password");
}

/// A file of mode 0400 has one reader: one that two users need cannot be read by one of them, or is read by others too.
#[test]
fn no_secret_file_serves_two_users() {
    let file = yaml("compose.yaml");
    let mut readers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in file["services"].as_hash().expect("services") {
        let user = match name.as_str().expect("a name") {
            database if database.ends_with("-db") => "999",
            _ => service["user"].as_str().and_then(|user| user.split(':').next()).expect("a user"),
        };
        for secret in key(service, "secrets").as_vec().expect("secrets") {
            let source = secret.as_str().or_else(|| secret["source"].as_str()).expect("a source");
            readers.entry(file["secrets"][source]["file"].as_str().expect("a file")).or_default().insert(user);
        }
    }
    assert_eq!(readers.len(), file["secrets"].as_hash().expect("secrets").len(), "each is used");
    assert!(readers.values().all(|users| users.len() == 1), "{readers:?}");
    // Whoever makes them is told whose they are.
    let readme = text("README.md");
    for users in readers.values() {
        assert!(users.iter().all(|user| readme.contains(&format!("| {user}, "))), "{users:?}");
    }
}

/// Each start tries the PIN once: a policy that starts again and again locks the token.
#[test]
fn a_refused_pin_is_not_tried_again_by_a_restart() {
    let file = yaml("compose.yaml");
    assert_eq!(file["services"]["cofred"]["restart"].as_str(), Some("no"));
    let codes =
        format!("RestartPreventExitStatus={} {}\n", cofre_server::exits::CONFIGURATION, cofre_server::exits::PIN);
    assert!(text("systemd/cofred.service").contains(&codes), "{codes}");
    let vault = &file["services"]["cofred"];
    assert_eq!(vault["mem_limit"], vault["memswap_limit"], "no swap");
    assert!(vault["mem_limit"].as_str().is_some());
}
