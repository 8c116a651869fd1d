use proptest::prelude::*;
use scaleout_core::ErrorKind;

use super::*;

fn config() -> RedisConfig {
    RedisConfig::new("chat".parse().unwrap(), Topology::Standalone(Endpoint::tcp("localhost", 6379)))
}

#[test]
fn every_problem_is_reported_at_once() {
    assert!(config().check().is_ok());
    let wrong = RedisConfig::new("chat".parse().unwrap(), Topology::Cluster { seeds: Vec::new() })
        .with_database(3)
        .with_username("u")
        .with_groups(NonZeroU16::new(9).unwrap())
        .with_key_prefix("{x}")
        .with_max_retained_age(Duration::ZERO)
        .with_liveness(Duration::from_millis(1))
        .with_max_backoff(Duration::ZERO);
    let error = wrong.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for part in [
        "no member",
        "database",
        "username",
        "groups",
        "key_prefix",
        "max_retained_age",
        "liveness",
        "max_backoff",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn groups_default_to_the_topology() {
    let cluster = |streams| {
        RedisConfig::new("chat".parse().unwrap(), Topology::Cluster { seeds: vec![Endpoint::tcp("a", 1)] })
            .with_streams(NonZeroU16::new(streams).unwrap())
    };
    assert_eq!(config().group_count().get(), 1);
    assert_eq!([cluster(2), cluster(100)].map(|it| it.group_count().get()), [2, 4]);
    assert_eq!(cluster(100).with_groups(NonZeroU16::new(7).unwrap()).group_count().get(), 7);
}

#[test]
fn urls_are_read() {
    let config: RedisConfig =
        "redis://us%40er:p%2Fw@h:7000/3?app=chat&streams=8&max_retained_age=5m&key_prefix=x\
                               &max_retained_bytes=128MiB&connect_timeout=1.5&liveness=500ms"
            .parse()
            .unwrap();
    let expected = RedisConfig::new("chat".parse().unwrap(), Topology::Standalone(Endpoint::tcp("h", 7000)))
        .with_username("us@er")
        .with_password("p/w")
        .with_database(3)
        .with_streams(NonZeroU16::new(8).unwrap())
        .with_max_retained_age(Duration::from_secs(300))
        .with_max_retained_bytes(128 << 20)
        .with_key_prefix("x")
        .with_connect_timeout(Duration::from_millis(1500))
        .with_liveness(Duration::from_millis(500));
    assert_eq!(config, expected);
}

fn refusal(text: &str) -> String {
    let error = text.parse::<RedisConfig>().expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

fn topology_of(text: &str) -> Topology {
    text.parse::<RedisConfig>().unwrap_or_else(|error| panic!("{text}: {error}")).topology
}

#[test]
fn every_topology_has_a_url() {
    let at = |host: &str, port| Endpoint::tcp(host, port);
    for (url, topology) in [
        ("redis://h?app=a", Topology::Standalone(at("h", 6379))),
        ("REDIS://h/?app=a", Topology::Standalone(at("h", 6379))),
        ("valkey://[::1]:7?app=a", Topology::Standalone(at("::1", 7))),
        (
            "redis+unix:///run/r%20s.sock?app=a&db=2",
            Topology::Standalone(Endpoint::Unix("/run/r s.sock".into())),
        ),
        ("unix:///run/r.sock?app=a", Topology::Standalone(Endpoint::Unix("/run/r.sock".into()))),
        (
            "redis+sentinel://u:p@h1,h2:7,[::1]/my%20master/3?app=a&sentinel_password=x",
            Topology::Sentinel {
                master: "my master".into(),
                sentinels: vec![at("h1", 26379), at("h2", 7), at("::1", 26379)],
            },
        ),
        (
            "redis+cluster://h1:7000,h2?app=a",
            Topology::Cluster { seeds: vec![at("h1", 7000), at("h2", 6379)] },
        ),
        ("valkey+cluster://h1/?app=a", Topology::Cluster { seeds: vec![at("h1", 6379)] }),
    ] {
        assert_eq!(topology_of(url), topology, "{url}");
    }
    let sentinel: RedisConfig =
        "redis+sentinel://u:p@h1/m/3?app=a&sentinel_username=s&sentinel_password=x".parse().unwrap();
    assert_eq!((sentinel.database, sentinel.username.as_deref()), (3, Some("u")));
    assert_eq!(sentinel.sentinel_password, Some("x".into()));
}

#[test]
fn what_is_wrong_in_a_url_is_named() {
    for (url, told) in [
        ("", "no endpoint"),
        ("http://h?app=a", "redis://"),
        ("redis+x://h?app=a", "redis://"),
        ("redis://h", "app is missing"),
        ("redis://h?app=A", "app is not 1 to 31"),
        ("redis://?app=a", "host 1 has no host"),
        ("redis://h:x?app=a", "host 1 has a port"),
        ("redis://h1,h2?app=a", "several hosts"),
        ("redis://h/x?app=a", "database is not a whole number"),
        ("redis://h/1?app=a&db=1", "database is given twice"),
        ("redis://h?app=a&app=b", "app is given twice"),
        ("redis://h?app=a&stream=1", "no option stream"),
        ("redis://h?app=a&STREAMS=1", "no option STREAMS"),
        ("redis://h?app=a&streams=0", "streams is not"),
        ("redis://h?app=a&max_retained_bytes=x", "max_retained_bytes is not a size"),
        ("redis://h?app=a&max_retained_bytes=99999999EiB", "max_retained_bytes is too large"),
        ("redis://h?app=a&liveness=x", "liveness is not a duration"),
        ("redis://h?app=a&liveness=-1", "liveness is not a duration"),
        ("redis://h?app=a&liveness=inf", "liveness is not a duration"),
        ("redis://h?app=a&liveness=1h", "liveness is above"),
        ("redis://h?app=%FF", "not UTF-8"),
        ("redis://h?app=a&ca=/nonexistent", "ca is not the path"),
        ("redis://u@h?app=a", "username is set without password"),
        ("redis://h?app=a#x", "%23"),
        ("redis+unix://h/x?app=a", "redis+unix:///path"),
        ("rediss+unix:///x?app=a", "unix socket has none"),
        ("redis+sentinel://h?app=a", "master's name"),
        ("redis+cluster://h/1?app=a", "Cluster has only 0"),
        ("redis://h?app=a&sentinel_password=x", "topology with sentinels"),
    ] {
        let text = refusal(url);
        assert!(text.contains(told), "{url}: {text}");
    }
    let all = refusal("redis://h:0?streams=x&nonsense=1&streams=2&liveness=1ms");
    for part in
        ["app is missing", "a port is 0", "streams is not", "no option nonsense", "given twice", "liveness"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn an_unescaped_password_is_not_told() {
    for url in [
        "redis://user:hunter/two@h/0?app=a",
        "redis://user:hunter?two=three@h/0?app=a",
        "redis://user:hunter#two@h/0?app=a",
        "redis://user:hunter@two:3@h?app=a&x=1",
        "redis://user:hunter,two@h?app=a&x=1",
        "redis://user:hunter?two@h",
        "h,password=hunter,two&three,app=a",
        "h,password=hunter,tw o=three,app=a",
    ] {
        let text = refusal(url);
        for part in ["hunter", "two", "three", "tw o"] {
            assert!(!text.contains(part), "{url}: {text}");
        }
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_needs_its_feature() {
    for text in ["rediss://h?app=a", "h,ssl=true,app=a"] {
        assert!(refusal(text).contains("without its feature `tls`"), "{}", refusal(text));
    }
}

#[cfg(feature = "tls")]
#[test]
fn the_string_of_a_managed_service_is_read() {
    let azure: RedisConfig =
        "my.redis.cache.windows.net:6380,password=abc+/=://,ssl=True,abortConnect=False,syncTimeout=5000,app=chat"
            .parse()
            .unwrap();
    let expected = RedisConfig::new(
        "chat".parse().unwrap(),
        Topology::Standalone(Endpoint::tcp("my.redis.cache.windows.net", 6380)),
    )
    .with_password("abc+/=://")
    .with_tls(TlsConfig::default());
    assert_eq!(azure, expected);
    assert_eq!(topology_of("h,ssl=true,app=a,sslHost=H"), Topology::Standalone(Endpoint::tcp("h", 6380)));
}

#[test]
fn the_dotnet_form_is_read() {
    let all: RedisConfig =
        "a, b:7 ,user=u,PASSWORD=p,defaultDatabase=1,serviceName=m,connectTimeout=1500,app=chat,\
                            Streams=8,max_retained_age=5m,sslHost=,name=x,$=,"
            .replace(",sslHost=", "")
            .replace(",$=", "")
            .parse()
            .unwrap();
    let sentinels = vec![Endpoint::tcp("a", 26379), Endpoint::tcp("b", 7)];
    let expected =
        RedisConfig::new("chat".parse().unwrap(), Topology::Sentinel { master: "m".into(), sentinels })
            .with_username("u")
            .with_password("p")
            .with_database(1)
            .with_connect_timeout(Duration::from_millis(1500))
            .with_streams(NonZeroU16::new(8).unwrap())
            .with_max_retained_age(Duration::from_secs(300));
    assert_eq!(all, expected);

    assert!(matches!(topology_of("h1,h2:7,app=a"), Topology::Cluster { seeds } if seeds.len() == 2));
}

#[test]
fn what_is_wrong_in_the_dotnet_form_is_named() {
    for (text, told) in [
        ("app=a", "no endpoint"),
        ("h", "app is missing"),
        ("h,app=a,ssl=maybe", "ssl is neither"),
        ("h,app=a,ssl=true,ssl=true", "ssl is given twice"),
        ("h,app=a,ssl=true,sslHost=other", "sslHost"),
        ("h,app=a,user=x,username=y,password=p", "username is given twice"),
        ("h,app=a,connectTimeout=5s", "connectTimeout"),
        ("h,app=a,connectTimeout=99999999999999999999", "connect_timeout"),
        ("h,app=a,connectTimeout=", "connect_timeout"),
        ("h,app=a,channelPrefix=x", "key_prefix"),
        ("h,app=a,proxy=twemproxy", "proxy"),
        ("h,app=a,sslProtocols=tls13", "sslProtocols"),
        ("h,app=a,checkCertificateRevocation=true", "checkCertificateRevocation"),
        ("h,app=a,tunnel=http:x", "no option tunnel"),
        ("h,app=a,$CONFIG=", "renamed"),
        ("h,app=a,ca=/nonexistent", "ca is not"),
        ("h h,app=a", "endpoint 1"),
        ("h1,h2,app=a,defaultDatabase=1", "Cluster has only 0"),
    ] {
        let text_of_error = refusal(text);
        assert!(text_of_error.contains(told), "{text}: {text_of_error}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let config = config()
        .with_password("hunter2")
        .with_sentinel_password("hunter3")
        .with_tls(TlsConfig::default().with_client_certificate("hunter4", "hunter5"));
    let text = format!("{config:?} {config:#?}");
    assert!(text.contains("***") && !text.contains("hunter"), "{text}");
}

/// Pieces of both forms, so that texts get past the first check.
fn piece() -> impl Strategy<Value = String> {
    let known = [
        "redis",
        "rediss",
        "valkey",
        "+unix",
        "+sentinel",
        "+cluster",
        "://",
        ":",
        "@",
        "/",
        "?",
        "&",
        "=",
        ",",
        "#",
        "%",
        "%2",
        "%41",
        "%FF",
        "[",
        "]",
        "[::1]",
        "h",
        "h:1",
        "app=a",
        "streams",
        "liveness",
        "5m",
        "64MiB",
        "ssl=true",
        "serviceName=m",
        "password",
        "user",
        "db=1",
        "max_payload_bytes=",
        "99999999999999999999",
        "1e309",
        "$x=",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

/// A password: long enough that no error holds it by chance, with all that has a meaning elsewhere.
fn password() -> impl Strategy<Value = String> {
    "[a-z0-9:/?#@&=,%+ \\[\\]$.-]{3,20}".prop_map(|middle| format!("Q7{middle}Zk"))
}

/// `text`, escaped as in a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Nothing that is shown of the outcome holds `password`, or enough of its beginning to guess it.
fn assert_silent(text: &str, password: &str) -> Result<(), TestCaseError> {
    let shown = match text.parse::<RedisConfig>() {
        Ok(config) => format!("{config:?} {config:#?}"),
        Err(error) => {
            prop_assert_eq!(error.kind(), ErrorKind::Config);
            format!("{error} {error:?}")
        }
    };
    prop_assert!(!shown.contains(password) && !shown.contains("Q7"), "{}", shown);
    Ok(())
}

proptest! {
    #[test]
    fn any_text_gives_settings_or_an_error(text in prop_oneof![
        any::<String>(),
        proptest::collection::vec(piece(), 0..16).prop_map(|pieces| pieces.concat()),
    ]) {
        match text.parse::<RedisConfig>() {
            Ok(config) => prop_assert!(config.check().is_ok()),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
        }
    }

    #[test]
    fn a_password_is_read_and_never_shown(password in password(), rest in piece()) {
        let url = format!("redis://user:{}@h/0?app=a", escaped(&password));
        let config: RedisConfig = url.parse().unwrap();
        prop_assert_eq!(config.password, Some(Secret::from(password.as_str())));

        for text in [
            url.clone(),
            format!("{url}{rest}"),
            format!("{url}&{rest}"),
            format!("redis+unix:///x?app=a&password={}{rest}", escaped(&password)),
            format!("redis+sentinel://h?app=a&sentinel_password={}&{rest}", escaped(&password)),
            // Not escaped, as people paste them.
            format!("redis://user:{password}@h/0?app=a{rest}"),
            format!("redis://{password}@h/0?app=a{rest}"),
            format!("redis+cluster://{password}@h,{rest}"),
            format!("h,ssl=true,password={password},app=a,{rest}"),
            format!("h,sentinel_password={password},app=a,{rest}"),
        ] {
            // A user is no secret, and is shown: as such, a password that comes without one is.
            if let Ok(RedisConfig { username: Some(name), .. }) = text.parse() && name.contains("Q7") {
                continue;
            }
            assert_silent(&text, &password)?;
        }
    }

    #[test]
    fn an_endpoint_never_panics(text in any::<String>()) {
        if let Ok(endpoint) = Endpoint::parse(&text, 1) {
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string(), 2), Ok(endpoint));
        }
    }
}
