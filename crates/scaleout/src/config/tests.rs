use scaleout_core::Received;

use super::*;

fn refusal(url: &str) -> String {
    let error = url.parse::<BackplaneConfig>().expect_err(url);
    assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    error.to_string()
}

#[test]
fn an_unknown_scheme_names_those_that_there_are() {
    let told = refusal("nats://ada:hunter2@localhost/?password=hunter2");
    assert!(told.contains("nats://") && told.contains("memory:"), "{told}");
    assert!(told.contains("redis://") && told.contains("sqlserver://"), "{told}");
    assert!(told.contains("servicebus://"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains("ada") && !told.contains("localhost"), "{told}");
}

/// What is left of the settings once another app has a place apart there.
#[cfg(any(feature = "redis", feature = "servicebus", feature = "sqlserver"))]
fn apart(url: &str) -> String {
    let other: AppName = "chat-bench-1".parse().expect("a good name");
    let apart = url.parse::<BackplaneConfig>().expect("settings that work").apart(other.clone());
    assert_eq!(apart.app(), Some(&other));
    assert_eq!(
        apart.bus(BusConfig::default()).map(drop).ok(),
        Some(()),
        "the app of the bus is that one too"
    );
    format!("{apart:?}")
}

#[tokio::test]
async fn a_place_apart_in_memory_is_another_one() -> Result<(), Error> {
    let here: BackplaneConfig = "memory:?app=chat".parse()?;
    let apart = here.apart("trial".parse()?);
    let (here, apart) = (here.bus(BusConfig::default())?, apart.bus(BusConfig::default())?);
    let (here, apart) = (here.connect().await?, apart.connect().await?);
    let mut subscription = apart.subscribe(["room"]);
    here.publish("room", "not for you").await?;
    apart.publish("room", "for you").await?;
    let Some(Received::Message(message)) = subscription.recv().await else { panic!("no message") };
    assert_eq!(message.payload(), "for you");
    Ok(())
}

#[test]
fn what_has_no_scheme_is_not_shown() {
    let dotnet = "cache.example:6380,password=hunter2,ssl=true,app=chat";
    for url in ["", "hunter2", dotnet, "cache.example:6380,password=hunter2://", "://hunter2", "hun ter2://x"]
    {
        let told = refusal(url);
        assert!(
            told.contains("no scheme") && told.contains("RedisConfig") && !told.contains("ter2"),
            "{told}"
        );
    }
    // None names a server in the way of ADO.NET, or an endpoint in that of Service Bus.
    for text in [
        "Database=hunter2;App=chat",
        "cache.example:6380,password=hunter2;Server=x",
        "SharedAccessKeyName=ada;SharedAccessKey=hunter2;App=chat",
        "cache.example:6380,password=hunter2;Endpoint=sb://x",
    ] {
        let told = refusal(text);
        assert!(told.contains("no scheme") && !told.contains("hunter2"), "{told}");
        assert!(told.contains("`Server=`") && told.contains("`Endpoint=sb://`"), "{told}");
    }
}

#[test]
fn memory_has_a_name_and_an_app_and_nothing_else() {
    for (url, app) in [("memory:", None), (" MEMORY://\n", None), ("memory://x.Y_1-?app=chat&", Some("chat"))]
    {
        let config: BackplaneConfig = url.parse().expect(url);
        assert_eq!(config.app().map(AppName::as_str), app, "{url}");
        assert!(!config.reaches_other_processes());
    }
    let long = format!("memory:{}", "x".repeat(65));
    for url in ["memory://ada:hunter2@host", "memory:a/b", "memory:?hunter2=1", "memory:?app=hunter2!", &long]
    {
        assert!(!refusal(url).contains("hunter2"), "{url}");
    }
    assert!(refusal("memory:?app=a&app=a").contains("twice"));
}

#[tokio::test]
async fn a_name_in_memory_is_one_store_for_each_app() {
    let [alpha, beta, stranger] =
        ["memory:one?app=chat", "memory://one?app=chat", "memory:one?app=shop"].map(crate::connect);
    let (alpha, beta, stranger) = (alpha.await.unwrap(), beta.await.unwrap(), stranger.await.unwrap());
    let mut subscriptions = [&alpha, &beta].map(|bus| bus.subscribe(["room:42"]));
    stranger.publish("room:42", "not for them").await.unwrap();
    alpha.publish("room:42", "hello").await.unwrap();
    for subscription in &mut subscriptions {
        let Some(Received::Message(message)) = subscription.recv().await else { panic!("no message") };
        assert_eq!(message.payload(), "hello");
    }
    assert_eq!(beta.counters().foreign, 0, "another app has another store");
}

#[tokio::test]
async fn a_url_without_a_name_is_a_store_of_its_own() {
    let config: BackplaneConfig = "memory:".parse().unwrap();
    let [alpha, beta] = [(); 2].map(|()| config.bus(BusConfig::default()).unwrap().connect());
    let (alpha, beta) = (alpha.await.unwrap(), beta.await.unwrap());
    let alone = crate::connect("memory:").await.unwrap();
    let subscriptions = [&beta, &alone].map(|bus| bus.subscribe(["room:42"]));
    alpha.publish("room:42", "hello").await.unwrap();
    alone.publish("room:42", "myself").await.unwrap();
    for (mut subscription, expected) in subscriptions.into_iter().zip(["hello", "myself"]) {
        let Some(Received::Message(message)) = subscription.recv().await else { panic!("no message") };
        assert_eq!(message.payload(), expected);
    }
}

#[test]
fn the_app_of_the_url_is_that_of_the_bus() {
    let app = |name: &str| BusConfig::default().with_app(name.parse().expect("a name"));
    let config: BackplaneConfig = "memory:?app=chat".parse().unwrap();
    for settings in [BusConfig::default(), app("chat")] {
        assert!(format!("{:?}", config.bus(settings).unwrap()).contains("\"chat\""));
    }
    let error = config.bus(app("shop")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("chat") && error.to_string().contains("shop"), "{error}");

    let nameless = BackplaneConfig::from(MemoryStore::default());
    assert!(format!("{:?}", nameless.bus(app("shop")).unwrap()).contains("\"shop\""));
}

#[test]
fn an_app_from_elsewhere_counts_where_the_text_names_none() {
    let app: AppName = "chat".parse().expect("a name");
    for (text, expected) in [
        ("memory:", "chat"),
        (" memory:demo ", "chat"),
        ("memory:?", "chat"),
        ("memory:demo?app=shop", "shop"),
        #[cfg(feature = "redis")]
        ("redis://localhost/2", "chat"),
        #[cfg(feature = "redis")]
        ("redis+sentinel://a,b/main?streams=8", "chat"),
        #[cfg(feature = "redis")]
        ("redis+unix:///run/redis.sock?streams=8&app=shop", "shop"),
        #[cfg(feature = "servicebus")]
        ("servicebus://ada:hunter2@localhost", "chat"),
        #[cfg(feature = "servicebus")]
        ("Endpoint=sb://localhost/;SharedAccessKeyName=ada;SharedAccessKey=hunter2=;", "chat"),
        #[cfg(feature = "servicebus")]
        ("Endpoint=sb://localhost/; APP = shop;SharedAccessKeyName=ada;SharedAccessKey=hunter2=", "shop"),
        #[cfg(feature = "sqlserver")]
        ("sqlserver://ada:hunter2@localhost/db?table_count=8", "chat"),
        #[cfg(feature = "sqlserver")]
        ("Server=localhost;Database=db;User ID=ada;Password='hunter2;'", "chat"),
        #[cfg(feature = "sqlserver")]
        ("Server=localhost;Database=db;User ID=ada;Password=hunter2;app=shop;", "shop"),
    ] {
        let config = BackplaneConfig::parse_for(&app, text).expect(text);
        assert_eq!(config.app().map(AppName::as_str), Some(expected), "{text}");
    }
    // What is no setting at all is refused as ever.
    for text in ["", "hunter2", "nats://ada:hunter2@localhost", "SharedAccessKey=hunter2"] {
        let told = BackplaneConfig::parse_for(&app, text).expect_err(text).to_string();
        assert_eq!(told, refusal(text));
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn a_provider_that_is_not_compiled_in_names_its_feature() {
    for scheme in ["redis", "REDISS", "valkey", "redis+sentinel"] {
        let told = refusal(&format!("{scheme}://:hunter2@localhost?app=chat"));
        assert!(told.contains("feature `redis` of scaleout") && !told.contains("hunter2"), "{told}");
    }
}

#[cfg(not(feature = "sqlserver"))]
#[test]
fn sqlserver_that_is_not_compiled_in_names_its_feature() {
    for text in [
        "sqlserver://ada:hunter2@localhost/db?app=chat",
        "MSSQL://ada:hunter2@localhost/db?app=chat",
        "Server=localhost;Database=db;User ID=ada;Password=hunter2;App=chat",
        "jdbc:sqlserver://localhost;user=ada;password=hunter2",
    ] {
        let told = refusal(text);
        assert!(told.contains("feature `sqlserver` of scaleout") && !told.contains("hunter2"), "{told}");
    }
}

#[cfg(not(feature = "servicebus"))]
#[test]
fn servicebus_that_is_not_compiled_in_names_its_feature() {
    for text in [
        "servicebus://ada:hunter2@localhost?app=chat",
        "ServiceBus+Emulator://ada:hunter2@localhost?app=chat",
        "Endpoint=sb://localhost/;SharedAccessKeyName=ada;SharedAccessKey=hunter2;App=chat",
    ] {
        let told = refusal(text);
        assert!(told.contains("feature `servicebus` of scaleout") && !told.contains("hunter2"), "{told}");
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;

    #[test]
    fn a_place_apart_on_redis_is_another_app() {
        let told = apart("redis://ada:hunter2@localhost/2?app=chat&streams=7");
        assert!(
            told.contains("chat-bench-1") && told.contains("streams: 7") && !told.contains("hunter2"),
            "{told}"
        );
    }

    #[test]
    fn urls_of_redis_are_read_by_its_provider() {
        for url in [
            "redis://127.0.0.1:6379?app=chat",
            "Valkey://127.0.0.1/2?app=chat",
            "redis+unix:///run/redis.sock?app=chat",
            "redis+sentinel://a,b/main?app=chat",
            "redis+cluster://a,b?app=chat&streams=8",
        ] {
            let config: BackplaneConfig = url.parse().expect(url);
            assert_eq!(config.app().map(AppName::as_str), Some("chat"), "{url}");
            assert!(config.reaches_other_processes() && config.backplane().is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_of_redis_is_told_without_secrets() {
        for (url, problem) in [
            ("redis://:hunter2@localhost", "app is missing"),
            ("redis://:hunter2@localhost?app=chat&colour=red", "colour"),
            ("redis+carrier-pigeon://:hunter2@localhost?app=chat", "redis+sentinel://"),
        ] {
            let told = refusal(url);
            assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
        }
        let config: BackplaneConfig = "redis://:hunter2@localhost?app=chat".parse().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn settings_in_any_form_will_do() {
        let config: RedisConfig = "localhost:6379,password=hunter2,app=chat".parse().unwrap();
        assert_eq!(BackplaneConfig::from(config).app().map(AppName::as_str), Some("chat"));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_that_is_not_compiled_in_names_its_feature() {
        assert!(refusal("rediss://localhost?app=chat").contains("feature `tls`"));
    }
}

/// Settings for the app `chat` that work, with a password that their `Debug` must not show.
#[cfg(any(feature = "servicebus", feature = "sqlserver"))]
fn read(text: &str) -> BackplaneConfig {
    let config: BackplaneConfig = text.parse().expect(text);
    assert_eq!(config.app().map(AppName::as_str), Some("chat"), "{text}");
    assert!(config.reaches_other_processes() && config.backplane().is_ok(), "{text}");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    config
}

#[cfg(feature = "servicebus")]
mod servicebus {
    use super::*;

    #[test]
    fn a_place_apart_on_service_bus_has_topics_that_are_made() {
        let told = apart(
            "servicebus://ada:hunter2@localhost?app=chat&create_entities=false&subscription=a&topic_count=3",
        );
        assert!(told.contains("create_entities: true") && told.contains("subscription: None"), "{told}");
        assert!(told.contains("topic_count: 3") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn urls_of_service_bus_are_read_by_its_provider() {
        for (url, is_emulator) in [
            ("servicebus://ada:hunter2@chat.servicebus.windows.net?app=chat", false),
            ("ServiceBus://ada:hunter2@localhost:5671/?app=chat&topic_count=8", false),
            ("servicebus+emulator://ada:hunter2@localhost?app=chat", true),
        ] {
            let told = format!("{:?}", read(url));
            assert!(told.contains(&format!("development_emulator: {is_emulator}")), "{told}");
        }
    }

    #[test]
    fn a_connection_string_that_names_an_endpoint_needs_no_scheme() {
        for text in [
            "Endpoint=sb://localhost/;SharedAccessKeyName=ada;SharedAccessKey=hunter2==;App=chat",
            ";app=chat; ENDPOINT = sb://localhost:5672 ;SharedAccessKeyName=ada;SharedAccessKey=hunter2;\
             UseDevelopmentEmulator=true;",
            "SharedAccessSignature=SharedAccessSignature sr=sb%3A%2F%2Flocalhost&sig=hunter2&se=1&skn=ada;\
             Endpoint=sb://localhost;App=chat",
            "TopicCount=8;SharedAccessKey=memory:hunter2;SharedAccessKeyName=ada;Endpoint=sb://localhost;App=chat",
        ] {
            assert!(format!("{:?}", read(text)).contains("host: \"localhost\""), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_settings_of_service_bus_is_told_without_secrets() {
        let string = "SharedAccessKeyName=ada;SharedAccessKey=hunter2";
        for (text, problem) in [
            ("servicebus://ada:hunter2@localhost", "app is missing"),
            ("servicebus://ada:hunter2@localhost?app=chat&colour=red", "colour"),
            ("servicebus+pigeon://ada:hunter2@localhost?app=chat", "servicebus+emulator://"),
            (&format!("Endpoint=sb://localhost;{string}"), "app is missing"),
            (&format!("Endpoint=sb://localhost;{string};hunter2;App=chat"), "name=value"),
            (&format!("Endpoint=sb://localhost;{string};EntityPath=hunter2;App=chat"), "EntityPath"),
            // As Azure's other services have it.
            (&format!("Endpoint=https://localhost;{string};App=chat"), "sb://"),
        ] {
            let told = refusal(text);
            assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
        }
    }

    #[cfg(any(feature = "servicebus-websocket", feature = "servicebus-rest"))]
    #[test]
    fn further_ways_to_service_bus_come_with_their_features() {
        #[cfg(feature = "servicebus-websocket")]
        read("servicebus://ada:hunter2@localhost?app=chat&protocol=websocket");
        #[cfg(feature = "servicebus-rest")]
        read("servicebus://ada:hunter2@localhost?app=chat&protocol=rest");
    }

    #[test]
    fn settings_of_service_bus_in_any_form_will_do() {
        let config: ServiceBusConfig =
            "servicebus://ada:hunter2@localhost?app=chat".parse().expect("settings that work");
        assert_eq!(BackplaneConfig::from(config).app().map(AppName::as_str), Some("chat"));
    }
}

#[cfg(feature = "sqlserver")]
mod sqlserver {
    use super::*;

    #[test]
    fn a_place_apart_on_sql_server_is_a_schema_that_is_made() {
        let told =
            apart("sqlserver://ada:hunter2@localhost/db?app=chat&schema=live&install=verify&table_count=8");
        assert!(told.contains("schema: \"chat_bench_1\"") && told.contains("install: Create"), "{told}");
        assert!(told.contains("table_count: 8") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn urls_of_sql_server_are_read_by_its_provider() {
        for url in [
            "sqlserver://ada:hunter2@localhost:1433/db?app=chat",
            "MSSQL://ada:hunter2@localhost/db?app=chat&table_count=8&trust_server_certificate=true",
        ] {
            read(url);
        }
    }

    #[test]
    fn a_connection_string_that_names_a_server_needs_no_scheme() {
        for text in [
            "Server=localhost;Database=db;User ID=ada;Password=hunter2;App=chat",
            ";app=chat;Data Source=tcp:localhost,1433;Initial Catalog=db;UID=ada;PWD='://hunter2;'",
            "Encrypt=Strict;ADDR=localhost;Database=db;User=ada;Password=memory:hunter2;App=chat",
            " network  address = localhost ; Database=db;User=ada;Password=redis://hunter2;App=chat",
        ] {
            assert!(format!("{:?}", read(text)).contains("host: \"localhost\""), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_settings_of_sql_server_is_told_without_secrets() {
        for (text, problem) in [
            ("sqlserver://ada:hunter2@localhost/db", "app is missing"),
            ("sqlserver://ada:hunter2@localhost?app=chat", "database is missing"),
            ("sqlserver://ada:hunter2@localhost/db?app=chat&colour=red", "colour"),
            ("sqlserver+named-pipe://ada:hunter2@localhost/db?app=chat", "sqlserver://"),
            ("Server=localhost;Database=db;User ID=ada;Password=hunter2", "app is missing"),
            ("Server=localhost;Database=db;User ID=ada;Password=hunter2;hunter2;App=chat", "name=value"),
            ("jdbc:sqlserver://localhost;user=ada;password=hunter2", "JDBC"),
        ] {
            let told = refusal(text);
            assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn settings_of_sql_server_in_any_form_will_do() {
        let config: SqlServerConfig =
            "sqlserver://ada:hunter2@localhost/db?app=chat".parse().expect("settings that work");
        assert_eq!(BackplaneConfig::from(config).app().map(AppName::as_str), Some("chat"));
    }
}
