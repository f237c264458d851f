//! Requests of clients that the application answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use im_proto::{ClientEvent, PacketId, RefusalCode, Request, RequestFailure};
use im_server::auth::OpenLoopback;
use im_server::{AnswerRequests, Asked, HookError, Reply};
use tokio::sync::Notify;

use crate::common::{Peer, TestServer, within};

const OWN: RefusalCode = RefusalCode(1002);

#[derive(Default)]
struct Procedures {
    /// What `wait` waits for.
    go_on: Notify,
    under_way: AtomicUsize,
    dropped: Arc<Notify>,
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl AnswerRequests for Procedures {
    fn answer<'a>(&'a self, asked: &'a Asked<'a>) -> BoxFuture<'a, Result<Reply, HookError>> {
        Box::pin(async move {
            let content = asked.request.content.clone();
            Ok(match asked.request.method.as_str() {
                "whoami" => Reply::new(format!("{}/{}", asked.user, asked.device).into()),
                "echo" => Reply::Answer { content_type: 7, content },
                "wait" => {
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                    self.go_on.notified().await;
                    Reply::new(b"at last".to_vec())
                }
                "hang" => {
                    let _here = OnDrop(self.dropped.clone());
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                    std::future::pending().await
                }
                "no" => {
                    Reply::Refuse { code: OWN, reason: "not today".into(), retry_after: Some(Duration::from_secs(60)) }
                }
                "long" => Reply::new(vec![0; 1 << 20]),
                "fail" => return Err(HookError("no database".into())),
                "panic" => panic!("a fault of the application"),
                _ => Reply::unknown_method(),
            })
        })
    }
}

async fn server(procedures: &Arc<Procedures>) -> TestServer {
    let hook = procedures.clone();
    TestServer::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), |builder| builder.answer_requests(hook))
        .await
}

fn ask(peer: &mut Peer, method: &str, timeout: Duration) -> PacketId {
    let now = peer.now();
    peer.connection.request(now, &Request::new(method, b"content".to_vec(), timeout)).unwrap()
}

/// The outcome of this request: type and content, or why there is none.
async fn outcome(peer: &mut Peer, id: PacketId) -> Result<(u32, Vec<u8>), RequestFailure> {
    peer.until(|event| match event {
        ClientEvent::Response { packet_id, content_type, content } if packet_id == id => {
            Some(Ok((content_type, content)))
        }
        ClientEvent::RequestFailed { packet_id, failure } if packet_id == id => Some(Err(failure)),
        _ => None,
    })
    .await
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn the_application_answers_by_method_and_knows_who_asks() {
    let server = server(&Arc::default()).await;
    let mut alice = server.online("alice", "phone").await;
    let id = ask(&mut alice, "whoami", LONG);
    assert_eq!(outcome(&mut alice, id).await, Ok((0, b"alice/phone".to_vec())));
    let id = ask(&mut alice, "echo", LONG);
    assert_eq!(outcome(&mut alice, id).await, Ok((7, b"content".to_vec())));
    let id = ask(&mut alice, "no", LONG);
    let refused = |code, reason: &str, wait: Option<u64>| {
        Err(RequestFailure::Refused { code, reason: reason.into(), retry_after: wait.map(Duration::from_secs) })
    };
    assert_eq!(outcome(&mut alice, id).await, refused(OWN, "not today", Some(60)));
    let id = ask(&mut alice, "what", LONG);
    let reason = "this server does not know the method";
    assert_eq!(outcome(&mut alice, id).await, refused(RefusalCode::UNKNOWN_METHOD, reason, None));
    for method in ["fail", "panic", "long"] {
        let id = ask(&mut alice, method, LONG);
        let reason = "the service could not do it now: ask again";
        assert_eq!(outcome(&mut alice, id).await, refused(RefusalCode::STORE, reason, Some(1)), "{method}");
    }
    let metrics = server.server.metrics();
    for (result, count) in [("passed", 2), ("refused", 2), ("failed", 3)] {
        let line = format!("im_hooks_total{{hook=\"answer_requests\",outcome=\"{result}\"}} {count}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_slow_answer_holds_up_no_other_one_and_no_message() {
    let procedures = Arc::<Procedures>::default();
    let server = server(&procedures).await;
    let mut alice = server.online("alice", "phone").await;
    let slow = ask(&mut alice, "wait", LONG);
    let fast = ask(&mut alice, "echo", LONG);
    assert!(outcome(&mut alice, fast).await.is_ok());
    alice.send("bob", "meanwhile");
    alice.stored().await;
    assert_eq!(procedures.under_way.load(Ordering::SeqCst), 1);
    procedures.go_on.notify_one();
    assert_eq!(outcome(&mut alice, slow).await, Ok((0, b"at last".to_vec())));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_dropped() {
    let procedures = Arc::<Procedures>::default();
    let server = server(&procedures).await;
    let mut alice = server.online("alice", "phone").await;
    // By its own time.
    let id = ask(&mut alice, "hang", Duration::from_millis(50));
    alice.flush().await;
    within(procedures.dropped.notified()).await;
    let (due, _) = alice.connection.poll_timeout().unwrap();
    alice.connection.handle_timeout(due);
    assert_eq!(outcome(&mut alice, id).await, Err(RequestFailure::Timeout));
    // And by the end of its connection.
    ask(&mut alice, "hang", LONG);
    alice.flush().await;
    while procedures.under_way.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    drop(alice);
    within(procedures.dropped.notified()).await;
}

#[tokio::test]
async fn without_such_a_hook_no_method_is_known() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let id = ask(&mut alice, "echo", LONG);
    let failure = outcome(&mut alice, id).await.unwrap_err();
    assert!(matches!(failure, RequestFailure::Refused { code: RefusalCode::UNKNOWN_METHOD, .. }), "{failure:?}");
}
