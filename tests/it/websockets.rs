//! Tunnels are born whole, however fast their upstream is: it answers before it has
//! seen a request here, and what it says next comes in the same segment.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::backends::{Authority, tls};
use crate::harness::{Harness, ROUTES};
use crate::raw::{Raw, Wire};

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";

/// An upstream that says yes as soon as somebody comes, and echoes what follows the
/// head.
async fn hasty(acceptor: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => echo(stream).await,
                    Some(acceptor) => echo(acceptor.accept(stream).await?).await,
                }
            });
        }
    });
    address
}

async fn echo(mut stream: impl Wire) -> std::io::Result<()> {
    stream.write_all(SWITCH.as_bytes()).await?;
    stream.flush().await?;
    let mut buffer = Vec::new();
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|found| found == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    };
    buffer.drain(..end);
    loop {
        stream.write_all(&buffer).await?;
        stream.flush().await?;
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

pub(crate) async fn gateway(address: SocketAddr, more: &str) -> (Harness, String) {
    let routes = format!(
        "{ROUTES}\n[[upstream]]\nname = \"hasty\"\naddresses = [\"{address}\"]\n{more}\n\
         [[route]]\nname = \"hasty\"\npath = \"/hasty/{{account}}\"\nupstream = \"hasty\"\n\
         environment = \"any\"\nallow = {{ GET = \"@authenticated\" }}\n"
    );
    let h = Harness::builder().routes(routes).start().await;
    let token = h.token(&["reader"]).await;
    (h, token)
}

fn upgrade(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// One after the other, not one tried again.
async fn all_last(h: &Harness, token: &str, count: usize) {
    for nth in 0..count {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(upgrade("/hasty/acme", token)).await;
        let head = raw.head().await.unwrap_or_else(|| panic!("the {nth}th is answered nothing"));
        assert!(head.starts_with("HTTP/1.1 101"), "{nth}: {head}");
        assert_eq!(raw.exactly(5).await, b"hello", "{nth}");
        for word in ["ping", "pong"] {
            assert!(raw.try_send(word).await, "the {nth}th has ended");
            assert_eq!(raw.exactly(4).await, word.as_bytes(), "{nth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_lasts_however_fast_it_is_granted() {
    let (h, token) = gateway(hasty(None).await, "").await;
    all_last(&h, &token, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_over_tls() {
    let authority = Authority::new();
    let config = tls(&authority.sign(&["up.example"]), None, &[]);
    let address = hasty(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let more = format!("tls = true\nserver_name = \"up.example\"\nca = \"{}\"", ca.display());
    let (h, token) = gateway(address, &more).await;
    all_last(&h, &token, 200).await;
}

/// Impatient clients are heard, once there is somebody to hear them.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_the_request_goes_through_the_tunnel() {
    let (h, token) = gateway(hasty(None).await, "").await;
    for nth in 0..100 {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(upgrade("/hasty/acme", &token) + "early").await;
        let head = raw.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{nth}: {head}");
        assert_eq!(raw.exactly(10).await, b"helloearly", "{nth}");
    }
}

/// Nobody asked for another protocol: what the upstream says next would be taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_nobody_asked_for_goes_no_further() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    for more in [
        "",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Upgrade: h2c, websocket\r\n",
        // It was asked for, but the answer says nothing of what it switches to.
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(format!(
            "GET /any/acme/raw-status-101 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        ))
        .await;
        let head = raw.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 502"), "{more}: {head}");
    }
}

/// An upgrade that is refused is a request like any other.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_an_upgrade_may_go_on() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    for nth in 0..20 {
        let before = h.upstream.count();
        raw.send(upgrade("/any/acme/x", &token)).await;
        assert_eq!(raw.answer().await.unwrap().status, 200, "{nth}");
        assert_eq!(h.upstream.count(), before + 1);
    }
}
