//! What an examination finds, and what an app leaves, over the wire on the test server.
//!
//! The server knows the statements of the examination word by word, and answers for what it holds: these tests are about what
//! is made of the answers, not about T-SQL.

#[path = "support/admin.rs"]
mod admin;
mod support;

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use bytes::Bytes;
use scaleout_core::{
    Backplane, Epoch, ErrorKind, Finding, FrameId, NodeId, PayloadId, Remnant, Retained, Severity,
    StreamIndex,
};
use scaleout_sqlserver::{
    Authentication, Encryption, Install, Notifications, SqlServerBackplane, SqlServerConfig,
};
use scaleout_testkit::servers::{TestCa, sqlserver_settings};
use sqlserver_testserver::TestServer;

use self::{
    admin::Admin,
    support::{for_tests, node},
};

const SCHEMA: &str = "scaleout";

/// Of all tests: nothing may show it.
const WRONG_PASSWORD: &str = "hunter2-is-wrong";

async fn launch() -> TestServer {
    TestServer::launch().await.expect("a free port")
}

fn config_of(server: &TestServer, app: &str) -> SqlServerConfig {
    for_tests(server.url(app).parse().expect("its own URL"))
}

/// Has a node make everything, as nodes do, and go.
async fn install(config: &SqlServerConfig) {
    let backplane = node(config.clone());
    append(&*backplane, 0, 1, 1).await;
    backplane.close().await.expect("nothing was registered");
}

/// Appends frames of one node to a stream.
async fn append(backplane: &dyn Backplane, stream: u16, first: u64, count: u64) {
    for number in first..first + count {
        let frame = FrameId { node: NodeId(7), number, after: number - 1 };
        let sent = backplane.send(StreamIndex(stream), frame, Bytes::from(vec![b'x'; 5000]));
        sent.await.expect("it is sent");
    }
}

/// What is found, of which nothing shows a secret, and everything that is wrong says what to do.
async fn examine(server: &TestServer, config: &SqlServerConfig) -> Vec<Finding> {
    let requests = |server: &TestServer| (server.schemas(), server.listeners(), server.conversations());
    let before = requests(server);
    let findings = config.examine().await;
    assert!(!findings.is_empty());
    for finding in &findings {
        let told = format!("{finding} {finding:?}");
        assert!(!told.contains(server.password()) && !told.contains(WRONG_PASSWORD), "{told}");
        assert!(!finding.what.is_empty() && !finding.to_string().contains('\n'), "{told}");
        assert_eq!(finding.severity == Severity::Ok, finding.fix.is_none(), "{told}");
        assert!(finding.fix.as_ref().is_none_or(|fix| !fix.is_empty()), "{told}");
    }
    assert_eq!(requests(server), before, "nothing is changed");
    findings
}

/// The only finding that is not [`Ok`](Severity::Ok).
fn only(findings: &[Finding]) -> &Finding {
    let mut wrong = findings.iter().filter(|finding| finding.severity != Severity::Ok);
    let first = wrong.next().unwrap_or_else(|| panic!("nothing is wrong: {findings:?}"));
    assert_eq!(wrong.next(), None, "{findings:?}");
    first
}

/// Fails unless the only thing that is wrong is this.
fn expect(findings: &[Finding], severity: Severity, subject: &str, what: &str, fix: &str) {
    let finding = only(findings);
    assert_eq!((finding.severity, finding.subject), (severity, subject), "{finding}");
    assert!(finding.what.contains(what), "{finding}");
    assert!(finding.fix.as_ref().is_some_and(|told| told.contains(fix)), "{finding}");
}

fn all_are_fine(findings: &[Finding]) {
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn subjects(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.subject).collect()
}

#[tokio::test]
async fn a_healthy_store_is_all_ok_before_and_after_its_nodes_install() {
    let server = launch().await;
    let config = config_of(&server, "app");
    let findings = examine(&server, &config).await;
    all_are_fine(&findings);
    assert!(findings.iter().any(|finding| finding.what.contains("not installed yet")), "{findings:?}");
    assert!(server.schemas().is_empty());
    install(&config).await;
    // The doorbell comes with the first node that receives, or with the second look.
    let findings = examine(&server, &config).await;
    all_are_fine(&findings);
    assert_eq!(
        subjects(&findings),
        ["connection", "login", "version", "clock", "retention", "layout", "permissions", "broker"]
    );
    for install in [Install::Verify, Install::None] {
        all_are_fine(&examine(&server, &config.clone().with_install(install)).await);
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_without_a_connection() {
    let server = launch().await;
    let config = config_of(&server, "app").with_max_retained_rows(0);
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "settings", "max_retained_rows", "change");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_server_that_is_down_is_told_and_nothing_more() {
    let server = launch().await;
    let config = config_of(&server, "app");
    server.stop().await;
    let findings = examine(&server, &config).await;
    let address = format!("127.0.0.1:{}", server.port());
    expect(&findings, Severity::Problem, "connection", &address, "start the server");
    assert_eq!(findings.len(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_in_time() {
    let server = launch().await;
    let config = config_of(&server, "app").with_connect_timeout(Duration::from_millis(200));
    server.freeze();
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "connection", "no answer within 200ms", "connect_timeout");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told() {
    let server = launch().await;
    // RFC 6761: it never resolves.
    let mut config = config_of(&server, "app");
    config.host = "nobody.invalid".into();
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "connection", "nobody.invalid", "getent hosts nobody.invalid");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told() {
    let (ca, other) = (TestCa::new().expect("certificates"), TestCa::new().expect("certificates"));
    let read = |path| std::fs::read_to_string(path).expect("a file");
    let (certificate, key) = (read(ca.server_certificate_file()), read(ca.server_key_file()));
    let server = TestServer::builder().tls(&certificate, &key).start().await.expect("a free port");
    let mut config = config_of(&server, "app");
    config.ca = Some(other.ca_pem().into());
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "connection", "certificate is not trusted", "set ca");
    config.ca = Some(ca.ca_pem().into());
    all_are_fine(&examine(&server, &config).await);
}

#[tokio::test]
async fn a_server_without_tls_is_told_to_whoever_wants_it() {
    let server = launch().await;
    let config = config_of(&server, "app").with_encryption(Encryption::Required);
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "connection", "no TLS", "encryption=not_supported");
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_database_are_told_as_the_login() {
    let server = launch().await;
    let wrong = Authentication::sql_login("sa", WRONG_PASSWORD);
    let findings = examine(&server, &config_of(&server, "app").with_authentication(wrong)).await;
    expect(&findings, Severity::Problem, "login", "the login [sa], or its password", "ALTER LOGIN [sa]");
    assert_eq!(findings.len(), 1);
    let mut config = config_of(&server, "app");
    config.database = "elsewhere".into();
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "login", "no database [elsewhere]", "CREATE DATABASE [elsewhere]");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_told_and_nothing_more() {
    let server = TestServer::builder().version("12.0.6024.0").start().await.expect("a free port");
    let findings = examine(&server, &config_of(&server, "app")).await;
    expect(&findings, Severity::Problem, "version", "12.0.6024.0", "SQL Server 2016");
    assert_eq!(subjects(&findings), ["connection", "login", "version"]);
}

#[tokio::test]
async fn babelfish_is_a_warning_whatever_version_it_pretends_to() {
    let server = TestServer::builder().babelfish("4.3.0").start().await.expect("a free port");
    let config = config_of(&server, "app");
    for is_installed in [false, true] {
        let findings = examine(&server, &config).await;
        // Not of the broker, which nobody can turn on.
        expect(&findings, Severity::Warning, "version", "Babelfish for PostgreSQL 4.3.0", "SQL Server 2016");
        if !is_installed {
            install(&config).await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_in_its_direction() {
    let server = launch().await;
    let config = config_of(&server, "app");
    server.set_clock(Duration::from_secs(7200), false);
    expect(&examine(&server, &config).await, Severity::Warning, "clock", "ahead of", "timedatectl");
    server.set_clock(Duration::from_secs(7200), true);
    expect(&examine(&server, &config).await, Severity::Warning, "clock", "behind", "timedatectl");
    server.set_clock(Duration::ZERO, false);
    all_are_fine(&examine(&server, &config).await);
}

#[tokio::test]
async fn row_versioning_that_is_off_is_told_with_the_statement() {
    let server = launch().await;
    server.set_row_versions(false);
    let findings = examine(&server, &config_of(&server, "app")).await;
    let statement = "ALTER DATABASE [test] SET READ_COMMITTED_SNAPSHOT ON";
    expect(&findings, Severity::Warning, "retention", "row versioning", statement);
}

#[tokio::test]
async fn each_missing_grant_is_a_finding_with_its_statement() {
    let server = launch().await;
    let config = config_of(&server, "app");
    // Before anything is installed: what a node that installs needs.
    for permission in ["CREATE TABLE", "CREATE SCHEMA"] {
        server.revoke(permission);
    }
    let findings = examine(&server, &config).await;
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    assert_eq!(wrong.len(), 2, "{findings:?}");
    for (finding, permission) in wrong.iter().zip(["CREATE SCHEMA", "CREATE TABLE"]) {
        assert_eq!((finding.severity, finding.subject), (Severity::Problem, "permissions"));
        assert_eq!(finding.fix, Some(format!("GRANT {permission} TO [dbo]")), "{finding}");
    }
    // That is what a node meets.
    let backplane = node(config.clone());
    let frame = FrameId { node: NodeId(7), number: 1, after: 0 };
    let refused = backplane.send(StreamIndex(0), frame, Bytes::from_static(b"frame")).await;
    assert_eq!(refused.expect_err("it may not install").kind(), ErrorKind::Unauthorized);
    for permission in ["CREATE TABLE", "CREATE SCHEMA"] {
        server.grant(permission);
    }
    all_are_fine(&examine(&server, &config).await);
    install(&config).await;
    // With everything there, what a node needs is to execute.
    server.revoke("CREATE TABLE");
    all_are_fine(&examine(&server, &config).await);
    server.deny("publish");
    let findings = examine(&server, &config).await;
    let statement = "GRANT EXECUTE ON SCHEMA::[scaleout] TO [dbo]";
    let denied = "may not execute publish_0, publish_1, publish_2, publish_3";
    expect(&findings, Severity::Problem, "permissions", denied, statement);
    server.revoke("EXECUTE");
    let findings = examine(&server, &config).await;
    expect(
        &findings,
        Severity::Problem,
        "permissions",
        "positions",
        "GRANT EXECUTE ON SCHEMA::[scaleout] TO [sa]",
    );
}

#[tokio::test]
async fn what_the_doorbell_lacks_is_a_warning() {
    let server = launch().await;
    let polling = config_of(&server, "app").with_notifications(Notifications::PollOnly);
    install(&polling).await;
    server.revoke("CREATE QUEUE");
    let findings = examine(&server, &config_of(&server, "app")).await;
    expect(&findings, Severity::Warning, "permissions", "CREATE QUEUE", "GRANT CREATE QUEUE TO [dbo]");
    all_are_fine(&examine(&server, &polling).await);
    let verifies = config_of(&server, "app").with_install(Install::Verify);
    let findings = examine(&server, &verifies).await;
    expect(&findings, Severity::Warning, "broker", "not installed in schema scaleout", "scaleout sql");
}

#[tokio::test]
async fn a_broker_that_is_off_is_told_with_the_statement() {
    let server = TestServer::builder().broker(false).start().await.expect("a free port");
    let config = config_of(&server, "app");
    let statement = "ALTER DATABASE [test] SET ENABLE_BROKER WITH NO_WAIT";
    for _ in 0..2 {
        expect(
            &examine(&server, &config).await,
            Severity::Warning,
            "broker",
            "Service Broker is off",
            statement,
        );
        install(&config).await;
    }
    all_are_fine(&examine(&server, &config.with_notifications(Notifications::PollOnly)).await);
}

#[tokio::test]
async fn a_service_without_a_broker_is_fine() {
    let server = TestServer::builder().without_service_broker().start().await.expect("a free port");
    let config = config_of(&server, "app");
    let findings = examine(&server, &config).await;
    all_are_fine(&findings);
    assert!(findings.iter().any(|finding| finding.what.contains("nothing is wrong")), "{findings:?}");
}

#[tokio::test]
async fn a_queue_that_is_off_is_told_with_the_statement() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    server.set_queue(false);
    let findings = examine(&server, &config).await;
    let statement = "ALTER QUEUE [scaleout].[ears] WITH STATUS = ON;";
    expect(&findings, Severity::Warning, "broker", "1 of the 2 queues", statement);
    server.set_queue(true);
    all_are_fine(&examine(&server, &config).await);
}

#[tokio::test]
async fn another_number_of_tables_is_told_with_both() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    let five = config.with_table_count(NonZeroU16::new(5).expect("not 0"));
    let findings = examine(&server, &five).await;
    expect(
        &findings,
        Severity::Problem,
        "layout",
        "4 message tables, and this node is set to 5",
        "table_count=4",
    );
}

#[tokio::test]
async fn a_schema_of_another_app_is_told_with_both() {
    let server = launch().await;
    install(&config_of(&server, "another")).await;
    let findings = examine(&server, &config_of(&server, "app")).await;
    expect(&findings, Severity::Problem, "layout", "belongs to the app another", "set schema to another one");
}

#[tokio::test]
async fn tables_of_somebody_else_under_our_names_are_told() {
    let server = launch().await;
    let config = config_of(&server, "app");
    server.occupy(SCHEMA, "streams");
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "layout", "scaleout has streams", "set schema to another one");
    // A table of the name of our layout.
    server.occupy(SCHEMA, "layout");
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "layout", "none of scaleout's", "set schema to another one");
    assert_eq!(server.objects(SCHEMA), ["layout", "streams"]);
    // What has another name is nobody's business.
    server.occupy("elsewhere", "orders");
    all_are_fine(&examine(&server, &config.with_schema("elsewhere")).await);
}

#[tokio::test]
async fn what_is_not_installed_is_told_to_those_who_do_not_install() {
    let server = launch().await;
    for install in [Install::Verify, Install::None] {
        let findings = examine(&server, &config_of(&server, "app").with_install(install)).await;
        expect(&findings, Severity::Problem, "layout", "schema scaleout is not installed", "scaleout sql");
    }
}

#[tokio::test]
async fn objects_that_are_newer_are_told() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    assert!(server.set_version(SCHEMA, 99, 1));
    all_are_fine(&examine(&server, &config).await);
    assert!(server.set_version(SCHEMA, 99, 99));
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "layout", "version 99", "update scaleout-sqlserver");
    assert!(server.set_version(SCHEMA, 0, 0));
    all_are_fine(&examine(&server, &config).await);
    let findings = examine(&server, &config.with_install(Install::Verify)).await;
    expect(&findings, Severity::Problem, "layout", "has version 0", "scaleout sql");
}

#[tokio::test]
async fn a_connection_that_breaks_on_the_way_is_told() {
    let server = launch().await;
    let config = config_of(&server, "app");
    // The first request is turned away with an error that ends the connection.
    server.throttle(1);
    let findings = examine(&server, &config).await;
    let finding = only(&findings);
    assert_eq!((finding.severity, finding.subject), (Severity::Problem, "connection"), "{finding}");
    all_are_fine(&examine(&server, &config).await);
}

/// What of a look-up no other one has, the subject under which it is missed, and the words.
const LOOKS: [(&str, &str, &str); 6] = [
    ("N'ProductVersion'", "version", "what the server is"),
    ("DATEDIFF_BIG", "clock", "the server's clock cannot"),
    ("delayed_durability", "retention", "what the database is set to"),
    ("N'CREATE SCHEMA'", "permissions", "what the user may do"),
    ("RTRIM(o.type)", "layout", "what else is in schema scaleout"),
    ("is_broker_enabled", "broker", "is_broker_enabled"),
];

#[tokio::test]
async fn a_look_that_fails_is_told_and_hides_no_other() {
    let server = launch().await;
    let config = config_of(&server, "app");
    let all = subjects(&examine(&server, &config).await);
    for (look, subject, what) in &LOOKS[..5] {
        server.lack(look);
        let findings = examine(&server, &config).await;
        expect(&findings, Severity::Warning, subject, what, "by hand");
        assert!(only(&findings).what.contains(look), "{findings:?}");
        let told = subjects(&findings);
        // Who asks is not known without the first one.
        assert!(
            all.iter().all(|one| told.contains(one) || *one == "login" && *subject == "version"),
            "{told:?}"
        );
        server.know(look);
    }
    // What nodes look at, too, is a problem.
    for is_installed in [false, true] {
        let look = LOOKS[5].0;
        server.lack(look);
        let findings = examine(&server, &config).await;
        expect(&findings, Severity::Problem, "broker", look, "");
        assert!(all.iter().all(|one| subjects(&findings).contains(one)), "{findings:?}");
        server.know(look);
        if !is_installed {
            install(&config).await;
        }
    }
    server.lack("N'open_epoch', N'P'");
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Problem, "layout", "open_epoch", "");
    let told = subjects(&findings);
    assert!(told.contains(&"broker") && !told.contains(&"permissions"), "{told:?}");
    server.know("N'open_epoch', N'P'");
    // And with all of them at once there still is what there is to tell.
    for (look, ..) in LOOKS {
        server.lack(look);
    }
    let findings = examine(&server, &config).await;
    let wrong = findings.iter().filter(|finding| finding.severity != Severity::Ok);
    // The objects are there, so that nobody asks what else there is.
    assert_eq!(
        wrong.map(|finding| finding.subject).collect::<Vec<_>>(),
        ["version", "clock", "retention", "permissions", "broker"]
    );
    assert!(
        findings.iter().any(|finding| finding.what.contains("message tables of the app")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn one_look_that_is_not_answered_is_told_and_hides_no_other() {
    let server = launch().await;
    let config = config_of(&server, "app").with_command_timeout(Duration::from_millis(500));
    install(&config_of(&server, "app")).await;
    let all = subjects(&examine(&server, &config).await);
    server.stall("delayed_durability");
    let findings = examine(&server, &config).await;
    expect(&findings, Severity::Warning, "retention", "no answer within 500ms", "command_timeout");
    assert_eq!(subjects(&findings), all);
    // Whoever waits for the findings does not wait for a second one.
    server.stall("is_broker_enabled");
    let findings = examine(&server, &config).await;
    let last = findings.last().expect("findings");
    assert_eq!((last.severity, last.subject), (Severity::Problem, "connection"), "{findings:?}");
    assert!(last.fix.as_ref().is_some_and(|fix| fix.contains("command_timeout")), "{last}");
    assert_eq!(findings.iter().filter(|finding| finding.severity != Severity::Ok).count(), 2, "{findings:?}");
}

#[tokio::test]
async fn what_an_app_leaves_is_removed_where_nobody_tells_how_large_it_is() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    let listed = config.remnants().await.expect("it can be asked");
    server.lack("sys.allocation_units");
    let without_sizes = config.remnants().await.expect("it can be asked");
    assert_eq!(names(&without_sizes, "table"), names(&listed, "table"));
    let tables = || without_sizes.iter().filter(|remnant| remnant.kind == "table");
    assert!(tables().count() > 0 && tables().all(|table| table.holds.is_empty()), "{without_sizes:?}");
    assert_eq!(config.remove_remnants().await.expect("it may"), without_sizes);
    assert!(server.schemas().is_empty());
}

fn names(remnants: &[Remnant], kind: &str) -> Vec<String> {
    remnants.iter().filter(|remnant| remnant.kind == kind).map(|remnant| remnant.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_app_leaves_is_listed_and_removed() {
    let server = launch().await;
    let config = config_of(&server, "app");
    assert_eq!(config.remnants().await.expect("it can be asked"), []);
    assert_eq!(config.remove_remnants().await.expect("nothing is there"), []);
    let backplane = SqlServerBackplane::new(config.clone()).expect("settings that work");
    append(&backplane, 1, 1, 3).await;
    // A node that listens, and is not there any more to give up its conversation.
    let mut admin = Admin::connect(&config).await;
    let mut register = tiberius::Command::new("[scaleout].[register]");
    register.bind_param("@listener", uuid::Uuid::new_v4());
    register.bind_param("@label", "a node that died");
    register.bind_param("@lifetime_seconds", 600_i32);
    admin.call(register).await;
    assert_eq!((server.listeners(), server.conversations()), (1, 2));
    backplane.close().await.expect("nothing was registered");

    let listed = config.remnants().await.expect("it can be asked");
    let of = |name: &str| listed.iter().find(|remnant| remnant.name == name).expect(name).holds.clone();
    assert_eq!(of("scaleout.messages_1"), "4 rows, 16 KiB");
    assert_eq!(of("scaleout.messages_0"), "1 row, 8 KiB");
    assert_eq!(of("scaleout/scaleout/ear"), "1 end of conversations");
    assert_eq!(names(&listed, "table").len(), 4 + 5);
    assert_eq!(names(&listed, "procedure").len(), 5 + 3 * 4 + 8);
    assert_eq!(names(&listed, "function"), ["scaleout.store_identity"]);
    assert_eq!(names(&listed, "queue"), ["scaleout.ears", "scaleout.bells"]);
    assert_eq!(names(&listed, "service"), ["scaleout/scaleout/bell", "scaleout/scaleout/ear"]);
    assert_eq!(names(&listed, "schema"), ["scaleout"]);
    // Settings with another number of tables list, and remove, what is there.
    let two = config.clone().with_table_count(NonZeroU16::new(2).expect("not 0"));
    assert_eq!(two.remnants().await.expect("it can be asked"), listed);

    let removed = two.remove_remnants().await.expect("it may");
    assert_eq!(removed, listed);
    assert!(server.schemas().is_empty());
    assert_eq!((server.listeners(), server.conversations()), (0, 0));
    assert_eq!(config.remnants().await.expect("it can be asked"), []);
    // And all begins anew.
    install(&config).await;
    all_are_fine(&examine(&server, &config).await);
}

#[tokio::test]
async fn what_others_have_stays() {
    let server = launch().await;
    let (ours, theirs) = (config_of(&server, "app"), config_of(&server, "another").with_schema("another"));
    install(&ours).await;
    install(&theirs).await;
    server.occupy(SCHEMA, "orders");
    // The settings of one app in the schema of the other.
    let strays = config_of(&server, "app").with_schema("another");
    assert_eq!(strays.remnants().await.expect("it can be asked"), []);
    assert_eq!(strays.remove_remnants().await.expect("nothing is there"), []);
    let before = theirs.remnants().await.expect("it can be asked");
    let removed = ours.remove_remnants().await.expect("it may");
    assert!(!names(&removed, "table").is_empty());
    assert!(names(&removed, "schema").is_empty(), "somebody else has something in it");
    assert!(removed.iter().all(|remnant| !remnant.name.contains("orders")));
    assert_eq!(server.objects(SCHEMA), ["orders"]);
    assert_eq!(theirs.remnants().await.expect("it can be asked"), before);
    all_are_fine(&examine(&server, &theirs).await);
    // Nobody knows whose these are.
    server.occupy("foreign", "streams");
    let foreign = config_of(&server, "app").with_schema("foreign");
    assert_eq!(foreign.remove_remnants().await.expect("nothing is there"), []);
    assert_eq!(server.objects("foreign"), ["streams"]);
    server.occupy("foreign", "layout");
    assert_eq!(foreign.remnants().await.expect("it can be asked"), []);
    assert_eq!(foreign.remove_remnants().await.expect("nothing is there"), []);
    assert_eq!(server.objects("foreign"), ["layout", "streams"]);
}

#[tokio::test]
async fn a_schema_in_which_somebody_has_a_type_stays_and_is_not_said_to_go() {
    let server = launch().await;
    let config = config_of(&server, "app");
    // A type and an object may have one name.
    server.occupy_by_type(SCHEMA, "epochs");
    all_are_fine(&examine(&server, &config).await);
    let config = config.with_schema("another");
    install(&config).await;
    server.occupy_by_type("another", "money_of_theirs");
    let removed = config.remove_remnants().await.expect("it may");
    assert!(!names(&removed, "table").is_empty());
    assert!(names(&removed, "schema").is_empty(), "{removed:?}");
    assert_eq!(server.objects("another"), ["money_of_theirs"]);
    assert_eq!(config.remnants().await.expect("it can be asked"), []);
}

#[tokio::test]
async fn the_schema_of_every_database_stays() {
    let server = launch().await;
    let config = config_of(&server, "app").with_schema("dbo");
    install(&config).await;
    let removed = config.remove_remnants().await.expect("it may");
    assert!(!names(&removed, "table").is_empty());
    // SQL Server refuses to drop it, and nothing else would be removed either.
    assert!(names(&removed, "schema").is_empty(), "{removed:?}");
    assert_eq!(server.objects("dbo"), [""; 0]);
    assert_eq!(config.remnants().await.expect("it can be asked"), []);
}

#[tokio::test]
async fn the_script_for_administrators_leaves_what_others_have_too() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    server.occupy(SCHEMA, "orders");
    let mut admin = Admin::connect(&config).await;
    admin.run_script(&config.script().uninstall()).await;
    assert_eq!(server.objects(SCHEMA), ["orders"]);
    // With nobody else in it, the schema goes, too.
    install(&config.clone().with_schema("another")).await;
    admin.run_script(&config.with_schema("another").script().uninstall()).await;
    assert_eq!(server.schemas(), [SCHEMA]);
}

#[tokio::test]
async fn a_node_that_still_runs_makes_everything_anew() {
    let server = launch().await;
    let config = config_of(&server, "app");
    let backplane = node(config.clone());
    append(&*backplane, 1, 1, 3).await;
    let before = server.epoch(SCHEMA).expect("it is installed");
    assert!(!config.remove_remnants().await.expect("it may").is_empty());
    assert!(server.schemas().is_empty());
    append(&*backplane, 1, 1, 1).await;
    assert!(server.epoch(SCHEMA).expect("it is installed") > before);
    backplane.close().await.expect("nothing was registered");
}

#[tokio::test]
async fn who_may_only_run_removes_nothing_and_is_told_the_grant() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    server.hide_tables(true);
    // What it may execute it sees.
    let listed = config.remnants().await.expect("it can be asked");
    assert!(names(&listed, "table").is_empty() && !names(&listed, "procedure").is_empty(), "{listed:?}");
    all_are_fine(&examine(&server, &config.clone().with_install(Install::Verify)).await);
    let error = config.remove_remnants().await.expect_err("it does not see all");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("GRANT CONTROL ON SCHEMA::[scaleout] TO [sa]"), "{error}");
    server.hide_tables(false);
    assert!(!names(&config.remnants().await.expect("it can be asked"), "table").is_empty());
}

#[tokio::test]
async fn who_may_not_drop_removes_nothing_and_is_told_the_grant() {
    let server = launch().await;
    let config = config_of(&server, "app");
    install(&config).await;
    let before = config.remnants().await.expect("it can be asked");
    server.revoke("ALTER");
    let error = config.remove_remnants().await.expect_err("it may not");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("GRANT CONTROL ON SCHEMA::[scaleout] TO [sa]"), "{error}");
    assert_eq!(config.remnants().await.expect("it can be asked"), before);
    server.grant("ALTER");
    assert_eq!(config.remove_remnants().await.expect("it may"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_is_the_newest_epoch_as_trim_has_left_it() {
    let server = launch().await;
    let config = config_of(&server, "app").with_notifications(Notifications::PollOnly);
    let backplane = SqlServerBackplane::new(config).expect("settings that work");
    append(&backplane, 1, 1, 5).await;
    let epoch = || Epoch(server.epoch(SCHEMA).expect("it is installed"));
    let retained = async |stream: u16| backplane.retained(StreamIndex(stream)).await;
    let of = |epoch, first: u64, last: u64| {
        Some(Retained { epoch, first: Some(PayloadId(first)), last: Some(PayloadId(last)) })
    };
    let nothing = |epoch| Some(Retained { epoch, first: None, last: None });
    // The row that opens an epoch has id 0, and is no payload.
    assert_eq!(retained(1).await.expect("it can be asked"), of(epoch(), 1, 5));
    assert_eq!(retained(0).await.expect("it can be asked"), nothing(epoch()));
    server.trim(2);
    assert_eq!(retained(1).await.expect("it can be asked"), of(epoch(), 4, 5));
    let old = epoch();
    // Another copy of the database takes over: a new epoch, of which the rows before are no part.
    server.fail_over(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = loop {
        match retained(1).await {
            Ok(found) => break found,
            // Connections break one by one.
            Err(error) => assert!(error.is_transient() && Instant::now() < deadline, "{error}"),
        }
    };
    assert!(epoch() > old);
    assert_eq!(found, nothing(epoch()));
    let frame = FrameId { node: NodeId(7), number: 6, after: 5 };
    backplane.send(StreamIndex(1), frame, Bytes::from_static(b"6")).await.expect("it is sent");
    assert_eq!(retained(1).await.expect("it can be asked"), of(epoch(), 1, 1));
    server.trim(1);
    assert_eq!(retained(1).await.expect("it can be asked"), of(epoch(), 1, 1));
    assert_eq!(retained(4).await.expect_err("there are four").kind(), ErrorKind::Config);
    // It takes what reading takes.
    server.deny("read");
    let error = retained(1).await.expect_err("it is not permitted");
    assert!(error.to_string().contains("GRANT EXECUTE ON SCHEMA::[scaleout]"), "{error}");
    server.allow("read");
    backplane.close().await.expect("nothing was registered");
    assert_eq!(retained(1).await.expect_err("it is closed").kind(), ErrorKind::Closed);
}

/// On a server that executes T-SQL, where the environment names one: every look of the examination, the list of what is there,
/// and its removal, in a schema that is this test's alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_executes_t_sql_is_examined_and_cleaned() {
    let Some(settings) = sqlserver_settings("a_server_that_executes_t_sql_is_examined_and_cleaned", "app")
    else {
        return;
    };
    let settings: SqlServerConfig = settings.parse().expect("settings of a SQL Server");
    let schema = format!("t_{:016x}", fastrand::u64(..));
    let config = for_tests(settings)
        .with_schema(&schema)
        .with_notifications(Notifications::PollOnly)
        .with_connect_timeout(Duration::from_secs(30))
        .with_command_timeout(Duration::from_secs(30));
    let examine = async |config: &SqlServerConfig| {
        let findings = config.examine().await;
        for finding in &findings {
            println!("{finding}");
        }
        assert!(findings.iter().all(|finding| finding.severity != Severity::Problem), "{findings:?}");
        assert!(!findings.iter().any(|finding| finding.what.contains("cannot be looked at")), "{findings:?}");
        let told = subjects(&findings);
        let all = ["connection", "login", "version", "clock", "retention", "layout", "permissions", "broker"];
        assert!(all.iter().all(|subject| told.contains(subject)), "{findings:?}");
        findings
    };
    let findings = examine(&config).await;
    let is_babelfish = findings.iter().any(|finding| finding.what.contains("Babelfish"));
    assert!(findings.iter().any(|finding| finding.what.contains("not installed yet")), "{findings:?}");
    assert_eq!(config.remnants().await.expect("it can be asked"), []);

    let backplane = SqlServerBackplane::new(config.clone()).expect("settings that work");
    append(&backplane, 1, 1, 3).await;
    let retained = async |stream| {
        let told = backplane.retained(StreamIndex(stream)).await.expect("it can be asked");
        let told = told.expect("it is told");
        (told.first.map(|id| id.0), told.last.map(|id| id.0))
    };
    assert_eq!((retained(1).await, retained(0).await), ((Some(1), Some(3)), (None, None)));
    for install in [Install::Create, Install::Verify, Install::None] {
        let findings = examine(&config.clone().with_install(install)).await;
        assert!(findings.iter().any(|finding| finding.what.contains("message tables of the app app")));
    }
    let mut admin = Admin::connect(&config).await;
    admin
        .run(&format!("EXEC [{schema}].trim_1 @keep_rows = 1, @keep_seconds = 1000000, @keep_bytes = 1000000000, @batch = 500, @max_batches = 10;"))
        .await;
    assert_eq!(retained(1).await, (Some(3), Some(3)));
    backplane.close().await.expect("nothing was registered");

    let listed = config.remnants().await.expect("it can be asked");
    let tables = usize::from(config.table_count.get());
    assert_eq!(names(&listed, "table").len(), tables + 5);
    assert_eq!(names(&listed, "procedure").len(), 5 + 3 * tables);
    assert_eq!(names(&listed, "function"), [format!("{schema}.store_identity")]);
    assert_eq!(names(&listed, "schema"), [schema.as_str()]);
    let of = |name: &str| {
        let name = format!("{schema}.{name}");
        listed.iter().find(|remnant| remnant.name == name).expect("it is listed").holds.clone()
    };
    if is_babelfish {
        assert_eq!(of("messages_1"), "", "it does not tell");
    } else {
        assert!(of("messages_1").starts_with("1 row, "), "{}", of("messages_1"));
        assert!(of("messages_0").starts_with("1 row, "), "{}", of("messages_0"));
    }
    // With something of somebody else, the schema stays; a type is no object.
    admin.run(&format!("CREATE TYPE [{schema}].positive FROM int;")).await;
    let removed = config.remove_remnants().await.expect("it may");
    assert_eq!(
        removed,
        listed.iter().filter(|remnant| remnant.kind != "schema").cloned().collect::<Vec<_>>()
    );
    assert_eq!(config.remnants().await.expect("it can be asked"), []);
    admin.run(&format!("DROP TYPE [{schema}].positive;")).await;
    // A table of one of our names, with other columns.
    admin.run(&format!("CREATE TABLE [{schema}].layout (mine int NOT NULL);")).await;
    let findings = config.examine().await;
    let problem = findings.iter().find(|finding| finding.severity == Severity::Problem).expect("a problem");
    assert!(problem.what.contains("none of scaleout's"), "{problem}");
    assert_eq!(config.remove_remnants().await.expect("nothing is there"), []);
    admin.run(&format!("DROP TABLE [{schema}].layout;")).await;

    // The schema is still there, and empty.
    install(&config).await;
    assert_eq!(
        config.remove_remnants().await.expect("it may").last(),
        Some(&Remnant::new("schema", &schema, ""))
    );
    // And the same with the scripts.
    admin.run_script(&config.script().install()).await;
    examine(&config.clone().with_install(Install::None)).await;
    admin.run_script(&config.script().uninstall()).await;
    let rows = admin.run(&format!("SELECT COUNT(*) FROM sys.schemas WHERE name = N'{schema}';")).await;
    assert_eq!(rows[0][0].get::<i32, _>(0), Some(0));
}
