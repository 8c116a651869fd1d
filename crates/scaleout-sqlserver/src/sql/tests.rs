mod golden;
mod lexer;
mod names;
mod scriptdom;

use std::time::Duration;

use super::*;

/// Everything that is ever sent or handed out, each with a name for messages: single batches, without `GO`.
fn every_batch(target: &Target, principal: &str) -> Vec<(String, String)> {
    let mut batches = vec![
        ("begin".to_owned(), target.begin(Duration::from_millis(2_500))),
        ("probe".to_owned(), target.probe()),
        ("missing".to_owned(), target.missing()),
        ("doorbell probe".to_owned(), target.doorbell_probe()),
        ("server".to_owned(), target.server().to_owned()),
        ("clock".to_owned(), target.clock().to_owned()),
        ("database".to_owned(), target.database().to_owned()),
        ("permissions".to_owned(), target.permissions()),
        ("contents".to_owned(), target.contents()),
        ("sizes".to_owned(), target.sizes()),
        ("services".to_owned(), target.services()),
        ("commit".to_owned(), target.commit().to_owned()),
        ("rollback".to_owned(), target.rollback().to_owned()),
    ];
    let mut add = |name: &str, texts: Vec<String>| {
        batches.extend(texts.into_iter().enumerate().map(|(at, text)| (format!("{name} {at}"), text)));
    };
    add("install", target.install());
    add("install doorbell", target.install_doorbell());
    for (name, text) in parts(target, principal) {
        add(name, batches_of(&text));
    }
    batches
}

/// All parts of the script.
fn parts(target: &Target, principal: &str) -> [(&'static str, String); 9] {
    let script = Script::for_target(target.clone());
    [
        ("owner", script.owner(principal)),
        ("install", script.install()),
        ("install_doorbell", script.install_doorbell()),
        ("service_owner", script.service_owner(principal)),
        ("grants", script.grants(principal)),
        ("installer_grants", script.installer_grants(principal)),
        ("enable_broker", script.enable_broker()),
        ("uninstall_doorbell", script.uninstall_doorbell()),
        ("uninstall", script.uninstall()),
    ]
}

/// What a tool sends of a script, one text after the other.
fn batches_of(script: &str) -> Vec<String> {
    let mut batches = vec![String::new()];
    for line in script.split_inclusive('\n') {
        match batches.last_mut() {
            Some(batch) if line != "GO\n" => batch.push_str(line),
            _ => batches.push(String::new()),
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn target(schema: &str, app: &str, table_count: u16) -> Target {
    Target { app: app.into(), schema: schema.into(), table_count }
}

#[test]
fn a_block_is_repeated_for_every_stream() {
    let file = "a $(table_count)\n  -- $(each stream)\n  b $(stream)\n  -- $(end)\nc\n";
    let text = Values::of(&target("s", "a", 3)).render(file);
    assert_eq!(text, "a 3\n  b 0\n  b 1\n  b 2\nc\n");
}

#[test]
fn a_name_that_looks_like_a_placeholder_stays_a_name() {
    let text =
        Values::of(&target("$(app_text)", "a", 1)).render("$(schema) '$(schema_text)' $(unknown) $(app_text");
    assert_eq!(text, "[$(app_text)] '$(app_text)' $(unknown) $(app_text\n");
}

#[test]
fn nothing_is_left_of_the_placeholders() {
    for (name, text) in every_batch(&target("scaleout", "chat", 3), "somebody") {
        assert!(!text.contains("$("), "{name}:\n{text}");
    }
}

#[test]
fn a_script_is_made_of_the_batches_that_a_node_sends() {
    let target = target("scaleout", "chat", 2);
    let sent = [target.install(), target.install_doorbell()].concat();
    let handed_out: Vec<_> =
        parts(&target, "somebody").into_iter().flat_map(|(_, text)| batches_of(&text)).collect();
    for text in sent {
        assert!(handed_out.contains(&text), "{text}");
    }
}
