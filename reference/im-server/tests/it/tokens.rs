//! Tokens at login: who is let in, and what the others are told.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Peer, TestServer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use im_proto::{ClientEvent, CloseCode};
use im_server::auth::{JwtAuthenticator, TokenIssuer};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef\n";
const OTHER_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";
// From RFC 8410 section 10.3: the pair of its examples.
const PRIVATE_PEM: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PUBLIC_PEM: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
const HOUR: Duration = Duration::from_secs(3600);

async fn server(tokens: JwtAuthenticator) -> TestServer {
    TestServer::with(|_| Arc::new(tokens), |builder| builder).await
}

/// `Ok` when alice's phone is let in, or what it is told.
async fn login(server: &TestServer, token: &str) -> Result<(), String> {
    let mut alice = Peer::offline(server.server.public_key(), "alice", "phone", token);
    alice.connect_tcp(server.address).await;
    loop {
        match alice.event().await {
            ClientEvent::LoggedIn { user, .. } => {
                assert_eq!(user, "alice");
                return Ok(());
            }
            ClientEvent::Closed(closed) => {
                assert_eq!((closed.code, closed.authenticated), (CloseCode::LOGIN_REFUSED, true));
                assert!(!closed.may_reconnect());
                return Err(closed.reason);
            }
            _ => {}
        }
    }
}

async fn refused(server: &TestServer, token: &str, why: &str) {
    let reason = login(server, token).await.unwrap_err();
    assert!(reason.contains(why), "{reason:?} should say {why:?}");
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// Signs any claims with `SECRET`.
fn signed(claims: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let message = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(claims));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&SECRET[..32]).unwrap().chain_update(&message);
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn hs256_tokens_let_their_user_in_and_nobody_else() {
    let server = server(JwtAuthenticator::hs256(SECRET).unwrap()).await;
    let issuer = TokenIssuer::hs256(SECRET).unwrap();
    login(&server, &issuer.issue("alice", None, HOUR).unwrap()).await.unwrap();
    login(&server, &issuer.issue("alice", Some("phone"), HOUR).unwrap()).await.unwrap();
    login(&server, &signed(r#"{"sub":"alice","exp":4102444800.5}"#)).await.unwrap();

    refused(&server, "", "needs a token").await;
    refused(&server, "not.a.token", "not a JSON Web Token").await;
    refused(&server, &issuer.issue("bob", None, HOUR).unwrap(), r#"for user "bob""#).await;
    refused(&server, &issuer.issue("alice", Some("desk"), HOUR).unwrap(), r#"for device "desk""#).await;
    let expired = "expired at 2001-09-09 01:46:40 UTC, get a new one";
    refused(&server, &signed(r#"{"sub":"alice","exp":1000000000}"#), expired).await;
    refused(&server, &signed(r#"{"sub":"alice"}"#), "exp").await;
    refused(&server, &signed(r#"{"sub":"alice","exp":4102444800,"nbf":4102444700}"#), "not yet").await;
    refused(&server, &signed(r#"{"sub":"alice","exp":4102444800,"aud":"another"}"#), "aud").await;
    let foreign = TokenIssuer::hs256(OTHER_SECRET).unwrap().issue("alice", None, HOUR).unwrap();
    refused(&server, &foreign, "not signed with this server's key").await;
    let other_algorithm = TokenIssuer::eddsa(PRIVATE_PEM).unwrap().issue("alice", None, HOUR).unwrap();
    refused(&server, &other_algorithm, "not signed with HS256").await;
    let claims = part(r#"{"sub":"alice","exp":4102444800}"#);
    for alg in ["none", "None", "HS384"] {
        let token = format!("{}.{claims}.", part(&format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#)));
        refused(&server, &token, "HS256").await;
    }
}

#[tokio::test]
async fn eddsa_tokens_are_verified_with_the_public_key() {
    let server = server(JwtAuthenticator::eddsa(PUBLIC_PEM).unwrap()).await;
    let issuer = TokenIssuer::eddsa(PRIVATE_PEM).unwrap();
    let token = issuer.issue("alice", None, HOUR).unwrap();
    login(&server, &token).await.unwrap();
    refused(&server, &issuer.issue("bob", None, HOUR).unwrap(), "bob").await;
    let (message, _) = token.rsplit_once('.').unwrap();
    refused(&server, &format!("{message}.{}", URL_SAFE_NO_PAD.encode([1; 64])), "not signed with this server's key")
        .await;
    // The classic confusion: the public key as an HMAC secret.
    let confused = TokenIssuer::hs256(PUBLIC_PEM).unwrap().issue("alice", None, HOUR).unwrap();
    refused(&server, &confused, "not signed with EdDSA").await;
}

#[tokio::test]
async fn an_audience_is_checked_where_one_is_set() {
    let server = server(JwtAuthenticator::hs256(SECRET).unwrap().audience("chat")).await;
    login(&server, &signed(r#"{"sub":"alice","exp":4102444800,"aud":"chat"}"#)).await.unwrap();
    refused(&server, &signed(r#"{"sub":"alice","exp":4102444800,"aud":"shop"}"#), "aud").await;
    refused(&server, &signed(r#"{"sub":"alice","exp":4102444800}"#), "aud").await;
}

#[test]
fn weak_and_wrong_keys_are_refused_when_the_server_is_set_up() {
    assert!(JwtAuthenticator::hs256(b"short").unwrap_err().to_string().contains("5 bytes"));
    assert!(JwtAuthenticator::hs256(b"31 bytes and newlines do not do\n\n\n").is_err());
    assert!(JwtAuthenticator::eddsa(b"no PEM").is_err());
    assert!(JwtAuthenticator::eddsa(PRIVATE_PEM).is_err());
    assert!(TokenIssuer::eddsa(PUBLIC_PEM).is_err());
    let issuer = TokenIssuer::hs256(SECRET).unwrap();
    assert!(issuer.issue("", None, HOUR).is_err());
    assert!(issuer.issue("alice", None, Duration::ZERO).is_err());
    assert!(issuer.issue("alice", None, Duration::MAX).is_err());
}
