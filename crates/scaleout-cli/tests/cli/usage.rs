//! Help, arguments, exit codes, and what needs no store.

use scaleout::sqlserver::SqlServerConfig;

use crate::support::{SECRET, scaleout, scaleout_with};

const COMMANDS: [&str; 8] = ["check", "bench", "tail", "publish", "nodes", "sql", "clean", "completions"];

#[tokio::test]
async fn every_command_has_help() {
    let all = scaleout(&["--help"]).await;
    assert_eq!((all.code, all.err.as_str()), (0, ""));
    for code in ["0 done", "1 failed", "2 the arguments", "3 the", "130 interrupted"] {
        assert!(all.out.contains(code), "{code}: {}", all.out);
    }
    for command in COMMANDS {
        assert!(all.out.contains(&format!("\n  {command} ")), "{command}: {}", all.out);
        let help = scaleout(&[command, "--help"]).await;
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
        assert!(help.out.contains(&format!("Usage: scaleout {command}")), "{}", help.out);
        assert!(help.out.contains("Example"), "{command} has no example: {}", help.out);
    }
}

#[tokio::test]
async fn help_shows_no_value_of_the_environment() {
    let url = format!("redis://:{SECRET}@localhost?app=chat");
    for command in COMMANDS {
        // The run itself looks for the secret.
        let help = scaleout_with(&[command, "--help"], &[("SCALEOUT_URL", &url)], "").await;
        assert_eq!(help.code, 0, "{command}");
    }
}

#[tokio::test]
async fn completions_are_those_of_the_shell() {
    for (shell, sign) in [
        ("bash", "complete -F _scaleout"),
        ("zsh", "#compdef scaleout"),
        ("fish", "complete -c scaleout"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let run = scaleout(&["completions", shell]).await;
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.out.contains(sign) && run.out.contains("publish"), "{shell}: {}", run.out);
    }
    let json = scaleout(&["completions", "fish", "--json"]).await.json();
    assert_eq!(json["shell"], "fish");
    assert!(json["script"].as_str().unwrap().contains("complete -c scaleout"));
}

#[tokio::test]
async fn wrong_arguments_are_told_with_code_2() {
    let secret_url = format!("redis://:{SECRET}@localhost?app=chat&nonsense={SECRET}");
    for (args, part) in [
        (&["check"][..], "SCALEOUT_URL"),
        (&["check", "memory:"], "within one process"),
        (&["check", "nats://localhost"], "nats://"),
        (&["check", "redis://localhost"], "app"),
        (&["check", &secret_url], "nonsense"),
        (&["check", "redis://localhost?app=chat", "--app", "shop"], "--app says shop"),
        (&["check", "redis://localhost?app=chat", "--timeout", "0s"], "above 0"),
        (&["tail", "redis://localhost?app=chat"], "which channel"),
        (&["tail", "room:42"], "which store"),
        (&["tail", "redis://localhost?app=chat", ""], "channel"),
        (&["tail", "redis://localhost?app=chat", "a", "--from", "nonsense"], "not a cursor"),
        (
            &[
                "tail",
                "Endpoint=sb://localhost;SharedAccessKeyName=a;SharedAccessKey=b;App=chat",
                "a",
                "--from",
                "start",
            ],
            "keeps nothing",
        ),
        (&["publish", "redis://localhost?app=chat"], "which channel"),
        (&["publish", "redis://localhost?app=chat", "a", "b", "--whole"], "--whole"),
        (&["publish", "redis://localhost?app=chat", &"x".repeat(1_025)], "1 to 1024 bytes"),
        (&["clean", "redis://localhost?app=chat"], "--app is required"),
        (&["clean", "redis://localhost?app=chat", "--app", "shop", "--yes"], "--app says shop"),
        (&["sql"], "which app"),
        (&["sql", "redis://localhost?app=chat"], "another kind"),
        (&["sql", "--app", "chat", "--only"], "--only"),
        (&["sql", "--app", "chat", "--tables", "65"], "table_count"),
        (&["sql", "--app", "chat", "--schema", "a b"], "schema"),
        (&["nonsense"], "nonsense"),
    ] {
        let run = scaleout(args).await;
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}: {run:?}");
        assert!(run.err.starts_with("error: ") && run.err.contains(part), "{args:?}: {}", run.err);
        let json = scaleout(&[args, &["--json"]].concat()).await;
        assert_eq!(json.code, 2, "{args:?}");
        let error = json.error();
        assert!(error["error"].as_str().unwrap().contains(part), "{args:?}: {error}");
        assert_eq!(error["exit_code"], 2, "{args:?}");
    }
}

#[tokio::test]
async fn sql_prints_what_the_library_has() {
    let config: SqlServerConfig =
        "sqlserver://a:b@localhost/db?app=chat&schema=live&table_count=8".parse().unwrap();
    let script = config.script();
    let whole = [script.install(), script.install_doorbell(), script.grants("web")].concat();
    let args = ["sql", "--app", "chat", "--schema", "live", "--tables", "8", "--grants", "web"];
    let run = scaleout(&args).await;
    assert_eq!((run.code, run.out.trim_end()), (0, whole.trim_end()));
    let json = scaleout(&[&args[..], &["--json"]].concat()).await.json();
    assert_eq!(json["script"], whole);
    assert_eq!((&json["app"], &json["schema"], &json["tables"]), (&"chat".into(), &"live".into(), &8.into()));

    let url = format!("sqlserver://ada:{SECRET}@localhost/db?app=chat&schema=live&table_count=8");
    let of_url = scaleout(&["sql", &url, "--grants", "web"]).await;
    assert_eq!(of_url.out, run.out);
    let of_environment = scaleout_with(&["sql", "--grants", "web"], &[("SCALEOUT_URL", &url)], "").await;
    assert_eq!(of_environment.out, run.out);
    // With --app the rest is still the environment's, where it is of this kind of store.
    let no_app = url.replace("app=chat&", "");
    let of_both = ["sql", "--app", "chat", "--grants", "web"];
    assert_eq!(scaleout_with(&of_both, &[("SCALEOUT_URL", &no_app)], "").await.out, run.out);
    let other = scaleout_with(&of_both, &[("SCALEOUT_URL", "redis://localhost?app=live")], "").await;
    assert!(other.out.contains("SCHEMA::[scaleout]"), "{}", other.out);

    for (args, expected) in [
        (&["--only", "--grants", "web"][..], script.grants("web")),
        (&["--only", "--installer-grants", "web"], script.installer_grants("web")),
        (&["--only", "--enable-broker"], script.enable_broker()),
        (&["--no-broker"], script.install()),
        (&["--uninstall"], script.uninstall()),
        (
            &["--owner", "keeper"],
            [
                script.owner("keeper"),
                script.install(),
                script.install_doorbell(),
                script.service_owner("keeper"),
            ]
            .concat(),
        ),
    ] {
        let run = scaleout(&[&["sql", &url][..], args].concat()).await;
        assert_eq!((run.code, run.out.trim_end()), (0, expected.trim_end()), "{args:?}");
    }
}
