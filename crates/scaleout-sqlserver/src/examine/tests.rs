use scaleout_core::Severity;

use super::findings::*;
use super::*;
use crate::{config::Authentication, health::ServiceBrokerHealth};

fn server(version: &str, edition: i64) -> Server {
    Server {
        version: version.into(),
        edition,
        edition_name: "Some Edition".into(),
        babelfish: None,
        user: "dbo".into(),
    }
}

fn config() -> SqlServerConfig {
    let authentication = Authentication::sql_login("chat", "hunter2");
    SqlServerConfig::new("chat".parse().unwrap(), "db.example", "my ]app", authentication)
}

#[test]
fn the_cloud_counts_versions_otherwise() {
    let is_too_old = |version, edition| {
        let (finding, is_hidden) = server(version, edition).finding();
        assert_eq!(is_hidden, finding.severity == Severity::Problem);
        is_hidden
    };
    assert!(is_too_old("12.0.6024.0", 3));
    assert!(is_too_old("9.00.5000", 4));
    assert!(!is_too_old("12.0.2000.8", 5));
    assert!(!is_too_old("12.0.2000.8", 8));
    assert!(!is_too_old("13.0.7000.253", 2));
    // Of whoever speaks the protocol and tells no version.
    assert!(!is_too_old("", 0));
}

#[test]
fn a_clock_is_judged_by_what_is_certain() {
    let at = Duration::from_secs;
    let skew = |before, theirs: Duration, after| {
        let theirs = u64::try_from(theirs.as_micros()).unwrap();
        Clock { before: at(before), theirs, after: at(after) }.finding()
    };
    // It was asked for six seconds: where in there is not known.
    assert_eq!(skew(100, at(106), 106).severity, Severity::Ok);
    assert_eq!(skew(100, at(99), 100).severity, Severity::Ok);
    let ahead = skew(100, Duration::from_millis(105_500), 101);
    assert_eq!(ahead.severity, Severity::Warning);
    assert!(ahead.what.contains("4.5 s ahead of"), "{ahead}");
    assert!(skew(100, at(40), 101).what.contains("60.0 s behind"));
}

#[test]
fn what_the_database_is_set_to_is_told_with_the_statement() {
    let base = Base { compatibility: 110, has_row_versions: false, delayed_durability: 2 };
    let config = config().with_max_retained_bytes(4 << 30);
    let findings = base.findings(&config, &server("16.0", 4));
    let fixes: Vec<&str> = findings.iter().filter_map(|finding| finding.fix.as_deref()).collect();
    assert_eq!(fixes.len(), 4);
    for told in [
        "ALTER DATABASE [my ]]app] SET COMPATIBILITY_LEVEL = 130",
        "max_retained_bytes",
        "ALTER DATABASE [my ]]app] SET DELAYED_DURABILITY = DISABLED",
        "ALTER DATABASE [my ]]app] SET READ_COMMITTED_SNAPSHOT ON",
    ] {
        assert!(fixes.iter().any(|fix| fix.contains(told)), "{fixes:?}");
    }
    let base = Base { compatibility: 160, has_row_versions: true, delayed_durability: 0 };
    let findings = base.findings(&config, &server("16.0", 3));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Ok);
    assert!(findings[0].what.contains("4 GiB each"), "{}", findings[0]);
}

#[test]
fn a_queue_that_is_off_and_messages_that_stay_are_told() {
    let healthy = ServiceBrokerHealth {
        is_enabled: true,
        queues_on: 2,
        listeners: 3,
        conversation_ends: 6,
        undelivered: 0,
        undelivered_because: None,
    };
    assert_eq!(of_broker(&healthy, &config()).severity, Severity::Ok);
    let off = of_broker(&ServiceBrokerHealth { queues_on: 1, ..healthy.clone() }, &config());
    assert_eq!(off.severity, Severity::Warning);
    assert!(off.fix.unwrap().contains("ALTER QUEUE [scaleout].[ears] WITH STATUS = ON;"));
    let stuck =
        ServiceBrokerHealth { undelivered: 7, undelivered_because: Some("Because.".into()), ..healthy };
    let stuck = of_broker(&stuck, &config());
    assert_eq!(stuck.severity, Severity::Warning);
    assert!(stuck.what.contains("7 of our messages: Because."));
}

#[test]
fn plain_text_and_any_certificate_are_warned_of_beyond_this_machine() {
    use crate::config::Encryption;

    let severity = |config: SqlServerConfig| connected(&config).severity;
    assert_eq!(severity(config()), Severity::Ok);
    assert_eq!(severity(config().with_encryption(Encryption::NotSupported)), Severity::Warning);
    assert_eq!(severity(config().with_trust_server_certificate(true)), Severity::Warning);
    let mut here = config();
    here.host = "127.0.0.1".into();
    assert_eq!(severity(here.clone().with_encryption(Encryption::NotSupported)), Severity::Ok);
    assert_eq!(severity(here.with_trust_server_certificate(true)), Severity::Ok);
}

#[test]
fn sizes_are_for_people() {
    let told = [0, 1023, 1024, 1536, 8 << 20, 3 << 30, 5 << 40].map(size);
    assert_eq!(told, ["0 bytes", "1023 bytes", "1 KiB", "1.5 KiB", "8 MiB", "3 GiB", "5 TiB"]);
}
