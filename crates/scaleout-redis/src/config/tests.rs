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
