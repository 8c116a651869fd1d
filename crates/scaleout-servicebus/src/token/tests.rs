use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, Ordering},
};

use futures_util::future::{FutureExt, join_all};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn tokens(credential: Credential) -> Tokens {
    let app = "chat".parse().unwrap();
    Tokens::new(&ServiceBusConfig::new(app, "h", credential))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Answers what it was given, in turn; then nothing.
#[derive(Debug, Default)]
struct Answers {
    answers: Mutex<VecDeque<Result<AccessToken, Error>>>,
    asked: AtomicU32,
}

impl Answers {
    fn new(answers: impl IntoIterator<Item = Result<AccessToken, Error>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: AtomicU32::new(0) })
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl TokenProvider for Answers {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
        async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let answer = self.answers.lock().unwrap().pop_front();
            answer.unwrap_or_else(|| Err(ErrorKind::Unavailable.into()))
        }
        .boxed()
    }
}

fn jwt(text: &str, expires_at: SystemTime) -> Result<AccessToken, Error> {
    Ok(AccessToken { secret: text.into(), expires_at })
}

/// What Python's `hmac` and `urllib.parse.quote` make of the same.
#[test]
fn a_signature_is_that_of_an_independent_implementation() {
    let sign = |resource: &str, name, key: &str, expiry| {
        shared_access_signature(resource, name, &Secret::from(key), expiry)
    };
    assert_eq!(
        sign(
            "sb://chat.servicebus.windows.net/scaleout-chat-0",
            "Root Manage/Key",
            "SGVsbG8gd29ybGQ+/w==",
            1_795_297_167
        ),
        "SharedAccessSignature sr=sb%3A%2F%2Fchat.servicebus.windows.net%2Fscaleout-chat-0&\
         sig=x%2Bn28pzuNJ8kmmkE3RBbqXtgGfjMnqL26awUQOQsHSY%3D&se=1795297167&skn=Root%20Manage%2FKey"
    );
    assert_eq!(
        sign("sb://127.0.0.1/", "RootManageSharedAccessKey", "SAS_KEY_VALUE", 1_700_000_000),
        "SharedAccessSignature sr=sb%3A%2F%2F127.0.0.1%2F&sig=MYrzUPYYtPJ5iAPrV6DeunFca9T082mqZRVE6JU3Gic%3D&\
         se=1700000000&skn=RootManageSharedAccessKey"
    );
}

#[tokio::test]
async fn a_token_of_a_key_is_kept_until_three_quarters_of_its_time() {
    let tokens = tokens(Credential::shared_access_key("n", "k"));
    let first = tokens.token_at("sb://H/Topic", at(1_000_000)).await.unwrap();
    assert_eq!((first.kind.as_str(), first.expires_at), ("servicebus.windows.net:sastoken", at(1_003_600)));
    assert_eq!(first.renew_at, at(1_002_700));
    assert!(first.text.expose().contains("sr=sb%3A%2F%2Fh%2Ftopic&"));
    let same = tokens.token_at("sb://h/topic", at(1_002_699)).await.unwrap();
    assert_eq!(same.text, first.text);
    let next = tokens.token_at("sb://h/topic", at(1_002_700)).await.unwrap();
    assert_ne!(next.text, first.text);
    assert_ne!(tokens.token_at("sb://h/other", at(1_002_700)).await.unwrap().text, next.text);
    assert!(!tokens.forget("sb://h/topic"), "the same key makes no better one");
}

#[test]
fn a_token_is_renewed_early_but_not_in_its_first_half() {
    for (lifetime, renewed) in [(3_600, 2_700), (1_200, 900), (900, 600), (600, 300), (300, 150), (4, 2)] {
        let token = Token::new("t".into(), TokenKind::Jwt, at(10_000), at(10_000 + lifetime));
        assert_eq!(token.renew_at, at(10_000 + renewed), "{lifetime}");
    }
    let expired = Token::new("t".into(), TokenKind::Jwt, at(10), at(5));
    assert_eq!(expired.renew_at, at(10));
}

#[tokio::test]
async fn a_ready_token_is_used_until_it_expires() {
    let text = "SharedAccessSignature sr=sb%3a%2f%2fh&sig=abc%3d&se=2000&skn=n";
    let tokens = tokens(Credential::SharedAccessSignature(text.into()));
    let token = tokens.token_at("sb://h/topic", at(1_999)).await.unwrap();
    assert_eq!(token.text.expose(), text);
    assert_eq!((token.expires_at, token.renew_at), (at(2_000), at(2_000)));
    assert!(!tokens.forget("sb://h/topic"));
    let failure = tokens.token_at("sb://h/topic", at(2_000)).await.unwrap_err();
    assert!(matches!(failure, Failure::Unauthorized(text) if text.contains("expired")));
}

#[test]
fn what_is_no_ready_token_is_refused() {
    for text in [
        "",
        "sr=a&sig=b&se=1&skn=n",
        "SharedAccessSignature sr=a&sig=b&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=-1&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=+1&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=1&se=2&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=18446744073709551615&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=18446744073709551616&skn=n",
        "SharedAccessSignature sr=a&se=1&skn=n",
        "SharedAccessSignature sig=b&se=1&skn=n",
        "SharedAccessSignature sr=a&sig=b&se=1",
        "SharedAccessSignature sr=a&sig=b&se=1&skn=n\r\nHost: x",
        "SharedAccessSignature sr=ä&sig=b&se=1&skn=n",
    ] {
        let credential = Credential::SharedAccessSignature(text.into());
        assert_eq!(credential.problems().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn all_who_wait_for_a_token_make_one_request() {
    let provider = Answers::new([jwt("one", at(3_600)), jwt("two", at(7_200))]);
    let tokens = tokens(Credential::Token(provider.clone()));
    let all = join_all((0..10).map(|index| {
        let tokens = &tokens;
        async move { tokens.token_at(&format!("sb://h/{index}"), at(0)).await.unwrap() }
    }));
    for token in all.await {
        assert_eq!((token.text.expose(), token.kind.as_str()), ("one", "jwt"));
    }
    assert_eq!(provider.asked(), 1);
    assert_eq!(tokens.token_at("sb://h/0", at(2_700)).await.unwrap().text.expose(), "two");
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn a_refused_token_is_asked_for_again() {
    let provider = Answers::new([jwt("one", at(3_600)), jwt("two", at(3_600))]);
    let tokens = tokens(Credential::Token(provider.clone()));
    assert!(!tokens.forget("sb://h/"), "there is none");
    assert_eq!(tokens.token_at("sb://h/", at(0)).await.unwrap().text.expose(), "one");
    assert!(tokens.forget("sb://h/"));
    assert_eq!(tokens.token_at("sb://h/", at(0)).await.unwrap().text.expose(), "two");
}

#[tokio::test]
async fn a_provider_that_fails_is_bridged_by_the_last_token_while_that_is_valid() {
    let failed = || Err(Error::new(ErrorKind::Unauthorized, "no identity"));
    let provider = Answers::new([failed(), jwt("one", at(3_600)), failed(), failed(), jwt("late", at(10))]);
    let tokens = tokens(Credential::Token(provider.clone()));
    let failure = tokens.token_at("sb://h/", at(0)).await.unwrap_err();
    assert!(matches!(failure, Failure::Token(error) if error.kind() == ErrorKind::Unauthorized));

    assert_eq!(tokens.token_at("sb://h/", at(0)).await.unwrap().text.expose(), "one");
    let bridged = tokens.token_at("sb://h/", at(3_000)).await.unwrap();
    assert_eq!((bridged.text.expose(), bridged.renew_at), ("one", at(3_150)));
    assert_eq!(tokens.token_at("sb://h/", at(3_100)).await.unwrap().text.expose(), "one");
    assert_eq!(provider.asked(), 3);

    let failure = tokens.token_at("sb://h/", at(3_600)).await.unwrap_err();
    assert!(matches!(failure, Failure::Token(error) if error.kind() == ErrorKind::Unauthorized));
    let failure = tokens.token_at("sb://h/", at(3_600)).await.unwrap_err();
    assert!(matches!(failure, Failure::Token(error) if error.to_string().contains("expired already")));
}

#[test]
fn nothing_secret_is_shown() {
    let secrets =
        [Credential::shared_access_key("n", "hunter2"), Credential::SharedAccessSignature("hunter2".into())];
    for credential in secrets {
        assert!(!format!("{credential:?}").contains("hunter2"));
        assert!(!format!("{:?}", tokens(credential)).contains("hunter2"));
    }
    let token = AccessToken { secret: "hunter2".into(), expires_at: at(0) + HOUR };
    assert!(!format!("{token:?}").contains("hunter2"));
}

#[test]
fn keys_and_names_are_checked() {
    let problems = |name: &str, key: &str| Credential::shared_access_key(name, key).problems();
    assert!(problems("n", "k").is_empty());
    assert_eq!(problems("", "").len(), 2);
    assert_eq!(problems("a\nb", &"k".repeat(257)).len(), 2);
}
