//! Names are quoted by kind, whatever is in them: configuration refuses most, the renderer does not rely on it.

use proptest::prelude::*;

use super::{
    every_batch,
    lexer::{Token, tokens},
    target,
};

/// Stands for the name under test; in no file.
const PLAIN: &str = "zqx";

/// Stands for the principal under test.
const PLAIN_PRINCIPAL: &str = "wvk";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_name_is_quoted_right(schema in name(), principal in name()) {
        let plain = every_batch(&target(PLAIN, "chat", 2), PLAIN_PRINCIPAL);
        let odd = every_batch(&target(&schema, "chat", 2), &principal);
        prop_assert_eq!(plain.len(), odd.len());
        for ((name, plain), (_, odd)) in plain.iter().zip(&odd) {
            assert_same(name, plain, odd, &[(PLAIN, &schema), (PLAIN_PRINCIPAL, &principal)]);
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_]{1,64}",
        r"(?:[\]\['\n\r;. ]|--|/\*|\$\(schema\)|\$\(stream\)|GO|x|N'|'\]){1,12}",
        any::<String>(),
    ]
    // No quoting helps against a tool that looks for its separator and nothing else.
    .prop_filter("a line that is GO", |name| name.lines().all(|line| !line.eq_ignore_ascii_case("go")))
}

/// Both are the same T-SQL, but for the names.
fn assert_same(batch: &str, plain: &str, odd: &str, names: &[(&str, &str)]) {
    let (plain, odd) = (tokens(plain), tokens(odd));
    assert_eq!(plain.len(), odd.len(), "{batch}: {odd:?}");
    for (plain, odd) in plain.iter().zip(&odd) {
        match (plain, odd) {
            (Token::Identifier(plain), Token::Identifier(odd)) => {
                assert_eq!(&bare(plain, names), odd, "{batch}");
            }
            // Names in texts are bare, as values, or identifiers again, in T-SQL that is run as a text.
            (Token::Text(plain), Token::Text(odd)) if plain.contains('[') => {
                assert_same(batch, plain, odd, names);
            }
            (Token::Text(plain), Token::Text(odd)) => assert_eq!(&bare(plain, names), odd, "{batch}"),
            (Token::Comment(plain), Token::Comment(odd)) => {
                let header = names.iter().fold(plain.clone(), |text, (name, value)| {
                    text.replace(&format!("{name:?}"), &format!("{value:?}"))
                });
                assert_eq!(&header, odd, "{batch}");
            }
            _ => assert_eq!(plain, odd, "{batch}"),
        }
    }
}

fn bare(text: &str, names: &[(&str, &str)]) -> String {
    match names.iter().find(|(plain, _)| text.contains(plain)) {
        Some((plain, value)) => text.replace(plain, value),
        None => text.to_owned(),
    }
}
