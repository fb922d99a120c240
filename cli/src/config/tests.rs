use std::ffi::OsString;

use secrecy::ExposeSecret as _;

use super::*;

/// Loads a file's text, an environment and flags.
fn loaded(file: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Loaded, CliError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("amends.toml");
    std::fs::write(&path, file).expect("a file");
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load_from(Some(&path), environment, flags)
}

fn entry<'a>(loaded: &'a Loaded, key: &str) -> (&'a str, &'a str) {
    let entry = loaded.entries.iter().find(|entry| entry.key == key).expect("an entry");
    (entry.value.as_deref().unwrap_or("-"), entry.source.split(' ').next().unwrap_or_default())
}

#[test]
fn the_nearest_layer_wins() {
    let file = "[engine]\nlanes = 4\nlease_ttl = \"8s\"\nin_flight_max = 100\n";
    let environment = [("AMENDS_ENGINE_LANES", "5"), ("AMENDS_LISTEN", "127.0.0.1:1"), ("AMENDS_BUS", "")];
    let flags = Flags::default().set("listen", "--listen", Some("127.0.0.1:2")).set("bus.url", "--bus", None::<&str>);
    let loaded = loaded(file, &environment, flags).expect("a good configuration");
    assert_eq!(entry(&loaded, "listen"), ("127.0.0.1:2", "flag"));
    assert_eq!(entry(&loaded, "engine.lanes"), ("5", "environment"));
    assert_eq!(entry(&loaded, "engine.lease_ttl"), ("8s", "file"));
    assert_eq!(entry(&loaded, "engine.in_flight_max"), ("100", "file"));
    assert_eq!(entry(&loaded, "store.connections"), ("16", "default"));
    assert_eq!(entry(&loaded, "bus.url"), ("-", "default"));
    let Settings { listen, engine, bus, .. } = loaded.settings;
    assert_eq!((listen.as_str(), engine.lanes, engine.in_flight_max), ("127.0.0.1:2", Some(5), 100));
    assert_eq!((engine.lease_ttl, engine.shards, bus.prefix.as_str()), (Duration::from_secs(8), None, "amends."));
    assert_eq!(bus.url, None);
}

#[test]
fn participants_are_set_by_name_in_every_layer() {
    let file = "[participants.payment]\nurl = \"http://a:1\"\n[participants.fraud-check]\ncourier = \"kafka\"\n";
    let environment =
        [("AMENDS_PARTICIPANTS_PAYMENT_CONCURRENCY", "7"), ("AMENDS_PARTICIPANTS_ORDER_URL", "http://o:1")];
    let flags = Flags::default().set("participants.payment.http", "--http-of", Some("http://a:2"));
    let loaded = loaded(file, &environment, flags).expect("a good configuration");
    let payment = &loaded.settings.participants["payment"];
    assert_eq!((payment.url.as_deref(), payment.concurrency), (Some("http://a:1"), Some(7)));
    assert_eq!((payment.http.as_deref(), payment.courier), (Some("http://a:2"), None));
    assert_eq!(loaded.settings.participants["fraud-check"].courier, Some(CourierKind::Kafka));
    assert_eq!(loaded.settings.participants["order"].url.as_deref(), Some("http://o:1"));
}

#[test]
fn secrets_are_values_but_are_never_shown() {
    let file = "[bus.properties]\n\"sasl.password\" = \"hush\"\n\"security.protocol\" = \"SASL_SSL\"\n";
    let environment = [("AMENDS_STORE", "postgres://amends:hush@db/amends")];
    let loaded = loaded(file, &environment, Flags::default()).expect("a good configuration");
    assert_eq!(entry(&loaded, "store.url"), ("postgres://amends:***@db/amends", "environment"));
    assert_eq!(entry(&loaded, "bus.properties"), ("sasl.password=***,security.protocol=***", "file"));
    assert!(!format!("{loaded:?}").contains("hush"));
    assert_eq!(loaded.settings.bus.properties["sasl.password"].expose_secret(), "hush");
    let url = loaded.settings.store.url.expect("a URL");
    assert_eq!(url.expose_secret(), "postgres://amends:hush@db/amends");
}

#[test]
fn properties_can_come_from_the_environment() {
    let environment = [("AMENDS_BUS_PROPERTIES", "security.protocol=SSL, client.id = a=b")];
    let loaded = loaded("", &environment, Flags::default()).expect("a good configuration");
    assert_eq!(loaded.settings.bus.properties["client.id"].expose_secret(), "a=b");
    assert_eq!(loaded.settings.bus.properties["security.protocol"].expose_secret(), "SSL");
}

#[test]
fn faults_name_the_place_the_key_and_what_is_right() {
    let cases = [
        ("lane = 1\n", &[][..], "there is no key lane", "the nearest is"),
        ("[engine]\nlane = 1\n", &[], "there is no key engine.lane", "the nearest is engine.lanes"),
        ("store = \"x\"\n", &[("AMENDS_STORE", "y.db")], "there is no key store", "the nearest is store.url"),
        ("[participants.payment]\nurll = \"x\"\n", &[], "there is no key participants.payment.urll", ".url"),
        ("[engine]\nlanes = \"many\"\n", &[], "engine.lanes cannot be many", "number from 1 to 256"),
        ("[engine]\nlanes = 0\n", &[], "engine.lanes cannot be 0", "number from 1 to 256"),
        ("[engine]\nlease_ttl = 6\n", &[], "engine.lease_ttl cannot be 6", "duration"),
        ("[engine]\nlanes = [1]\n", &[], "engine.lanes cannot be a table", "number"),
        ("", &[("AMENDS_LISTEN", "7400")], "environment AMENDS_LISTEN: listen cannot be 7400", "HOST:PORT"),
        ("", &[("AMENDS_STORE", "mysql://u:p@h/d")], "store.url cannot be mysql://u:***@h/d", "postgres://"),
        ("", &[("AMENDS_LOG_FORMAT", "xml")], "log.format cannot be xml", "json or text"),
        ("", &[("AMENDS_BUS_PROPERTIES", "ssl")], "AMENDS_BUS_PROPERTIES is not a list of NAME=VALUE", ""),
        ("[engine\n", &[], "amends.toml cannot be read", "line 1"),
    ];
    for (file, environment, what, why) in cases {
        let error = loaded(file, environment, Flags::default()).expect_err(file);
        let parts = error.parts();
        assert!(parts.0.contains(what), "{file}: {parts:?}");
        assert!(parts.1.unwrap_or_default().contains(why), "{file}: {parts:?}");
        assert!(parts.2.is_some(), "{file}: {parts:?}");
        assert_eq!(error.exit(), Exit::Usage);
        if !file.is_empty() {
            assert!(parts.0.contains("amends.toml"), "{parts:?}");
        }
    }
}

#[test]
fn entries_stand_in_the_order_of_the_table() {
    let file =
        "[participants.b]\nhttp = \"http://b:1\"\nurl = \"http://b:2\"\n[participants.a]\nhttp = \"http://a:1\"\n";
    let loaded = loaded(file, &[], Flags::default()).expect("a good configuration");
    let keys: Vec<&str> = loaded.entries.iter().map(|entry| entry.key.as_str()).collect();
    let tail =
        ["participants.a.http", "participants.b.url", "participants.b.http", "worker.store", "log.format", "log.level"];
    assert_eq!(keys[..3], ["listen", "advertise", "store.url"]);
    assert_eq!(keys[keys.len() - 6..], tail);
}
