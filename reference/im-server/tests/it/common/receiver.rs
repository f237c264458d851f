//! A service that is told: it checks each signature with the specification's own crate, and answers as the test says.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One request, whose signature was good.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub kind: String,
    pub data: serde_json::Value,
}

/// The status of an answer, and a header.
pub type Answer = (u16, Option<(&'static str, String)>);

type Answers = Arc<Mutex<Box<dyn FnMut(&Told) -> Answer + Send>>>;

pub struct Receiver {
    pub port: u16,
    pub told: mpsc::UnboundedReceiver<Told>,
    answers: Answers,
}

impl Receiver {
    pub async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = mpsc::unbounded_channel();
        let answers: Answers = Arc::new(Mutex::new(Box::new(|_| (204, None))));
        let to_serve = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, tell, answers) = (tls.clone(), tell.clone(), to_serve.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, tell, answers).await;
                            }
                        }
                        None => serve(stream, tell, answers).await,
                    }
                });
            }
        });
        Self { port, told, answers }
    }

    /// How requests are answered from now on.
    pub fn answer(&self, answer: impl FnMut(&Told) -> Answer + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answer);
    }

    pub async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(std::time::Duration::from_secs(30), self.told.recv()).await;
        told.expect("nothing is told").unwrap()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tell: mpsc::UnboundedSender<Told>,
    answers: Answers,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (tell, answers) = (tell.clone(), answers.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
            verifier.verify(&body, &head.headers).expect("a good signature, not older than five minutes");
            assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/hook"), "redirects are not followed");
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let told = Told {
                id: head.headers["webhook-id"].to_str().unwrap().to_owned(),
                kind: said["type"].as_str().unwrap().to_owned(),
                data: said["data"].clone(),
            };
            let (status, header) = (answers.lock().unwrap())(&told);
            let _ = tell.send(told);
            let mut answer = Response::builder().status(status);
            if let Some((name, value)) = header {
                answer = answer.header(name, value);
            }
            Ok::<_, std::convert::Infallible>(answer.body(Full::new(Bytes::new())).unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
