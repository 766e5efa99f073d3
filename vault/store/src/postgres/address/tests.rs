use super::*;

fn parse(text: &str) -> Result<Postgres, AddressError> {
    Postgres::parse_beside(text, None, |_| false)
}

fn refused(text: &str) -> String {
    parse(text).map(|place| format!("{place:?}")).expect_err(text).to_string()
}

#[test]
fn a_text_names_server_database_and_role() {
    let place = parse("host=db1 dbname=cofre_records user=cofre_records").expect("parsed");
    assert_eq!((place.host.as_str(), place.port, place.tls), ("db1", 5432, Tls::Full));
    assert_eq!((place.database.as_str(), place.user.as_str()), ("cofre_records", "cofre_records"));
    assert!(place.root.is_none() && place.identity.is_none() && place.password.is_none());

    let text = "host = 10.0.0.7 port= 6432 dbname ='a b' user=o\\'hara sslmode=verify-ca \
                sslrootcert='/etc/a\\\\b.pem'\tsslcert=/c.pem\nsslkey=/k.pem ";
    let place = parse(text).expect("parsed");
    assert_eq!((place.host.as_str(), place.port, place.tls), ("10.0.0.7", 6432, Tls::Ca));
    assert_eq!((place.database.as_str(), place.user.as_str()), ("a b", "o'hara"));
    assert_eq!(place.root.as_deref(), Some(Path::new("/etc/a\\b.pem")));
    assert_eq!(place.identity, Some(("/c.pem".into(), "/k.pem".into())));
}

#[test]
fn tls_is_left_out_only_on_a_socket_or_when_told() {
    let tls = |text: &str| parse(&format!("{text} dbname=d user=u")).map(|place| (place.tls, place.is_exposed()));
    assert_eq!(tls("host=/run/postgresql"), Ok((Tls::Off, false)));
    assert_eq!(tls("host=db1"), Ok((Tls::Full, false)));
    assert_eq!(tls("host=db1 sslmode=disable"), Ok((Tls::Off, true)));
    assert_eq!(tls("host=127.0.0.1 sslmode=disable"), Ok((Tls::Off, false)));
    assert_eq!(tls("host=::1 sslmode=disable"), Ok((Tls::Off, false)));
    assert_eq!(tls("host=10.1.2.3 sslmode=disable"), Ok((Tls::Off, true)));
    for weak in ["allow", "prefer", "require", "VERIFY-FULL", ""] {
        let text = format!("host=db1 dbname=d user=u sslmode='{weak}'");
        assert_eq!(refused(&text), "sslmode has to be verify-full, verify-ca or disable", "{weak}");
    }
    let socket = "host=/run dbname=d user=u sslmode=verify-full";
    assert_eq!(refused(socket), "sslmode has to be disable on a socket folder");
    let idle = "host=/run dbname=d user=u sslrootcert=/ca.pem";
    assert_eq!(refused(idle), "sslmode has to be verify-full or verify-ca where certificates are given");
}

#[test]
fn whatever_is_not_known_is_refused_by_its_name() {
    for (text, expected) in [
        ("host=h dbname=d user=u connect_timeout=3", "unknown keyword \"connect_timeout\": known are"),
        ("Host=h dbname=d user=u", "unknown keyword \"Host\""),
        ("host=h dbname=d user=u password=hunter2", "a password does not belong in the connection text"),
        ("host=h user=u", "dbname is missing"),
        ("host=h dbname=d", "user is missing"),
        ("host='' dbname=d user=u", "host is missing"),
        ("", "host is missing"),
        ("host=h host=i dbname=d user=u", "host is given twice"),
        ("host=h port=0 dbname=d user=u", "port has to be a number from 1 to 65535"),
        ("host=h port=x dbname=d user=u", "port has to be"),
        ("host=h dbname=d user=u sslcert=/c", "sslkey is missing"),
        ("host=h dbname=d user=u sslkey=/k", "sslcert is missing"),
        ("postgres://u@h/d", "the text is not a list of `keyword=value`"),
        ("host=h dbname='d user=u", "the text is not a list of `keyword=value`"),
        ("host=h dbname=d user=u\\", "the text is not a list of `keyword=value`"),
    ] {
        let cause = refused(text);
        assert!(cause.starts_with(expected), "{text}: {cause}");
        assert!(!cause.contains("hunter2"), "{cause}");
    }
}

#[test]
fn the_environment_changes_nothing() {
    for variable in VARIABLES {
        let cause = Postgres::parse_beside("host=h dbname=d user=u", None, |asked| asked == variable);
        assert_eq!(cause.map(drop), Err(AddressError::Environment { variable }));
    }
}

#[test]
fn the_password_is_shown_nowhere() {
    let password = Some(Zeroizing::new("hunter2".to_owned()));
    let place = Postgres::parse_beside("host=/run dbname=d user=u", password, |_| false).expect("parsed");
    assert!(place.password.is_some());
    for shown in [format!("{place:?}"), format!("{:#?}", place.clone())] {
        assert!(shown.contains("user") && !shown.contains("hunter2"), "{shown}");
    }
}
