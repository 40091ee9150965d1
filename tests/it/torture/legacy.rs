//! A legacy API that keeps nothing, so that it can be asked for hours: it shows each
//! head to whoever wants to see it, answers, and echoes where it is asked for a
//! WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Look = Arc<dyn Fn(&str) + Send + Sync>;

/// Starts one; `look` sees every head.
pub(crate) async fn start(look: impl Fn(&str) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let look: Look = Arc::new(look);
    tokio::spawn(async move {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, Arc::clone(&look)));
            }
        }
    });
    address
}

async fn serve(mut stream: TcpStream, look: Look) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = read_to(&mut stream, &mut buffer, b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        look(&head);
        let head = head.to_ascii_lowercase();
        if head.contains("\r\nupgrade: websocket\r\n") {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).await?;
            return echo(stream).await;
        }
        let length = head.split("\r\ncontent-length:").nth(1);
        if let Some(length) = length.and_then(|rest| rest.lines().next()?.trim().parse().ok()) {
            while buffer.len() < length {
                more(&mut stream, &mut buffer).await?;
            }
            buffer.drain(..length);
        } else if head.contains("\r\ntransfer-encoding:") {
            chunks(&mut stream, &mut buffer).await?;
        }
        let body = if head.starts_with("head ") { "" } else { "{\"ok\":true}" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let end = read_to(stream, buffer, b"\r\n").await?;
        let line = String::from_utf8_lossy(&buffer[..end - 2]).into_owned();
        buffer.drain(..end);
        let size = line.split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or(std::io::ErrorKind::InvalidData)?;
        if size == 0 {
            // Trailers, and the empty line.
            while read_to(stream, buffer, b"\r\n").await? > 2 {
                let end = read_to(stream, buffer, b"\r\n").await?;
                buffer.drain(..end);
            }
            buffer.drain(..2);
            return Ok(());
        }
        while buffer.len() < size + 2 {
            more(stream, buffer).await?;
        }
        buffer.drain(..size + 2);
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn read_to(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    end: &[u8],
) -> std::io::Result<usize> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|found| found == end) {
            return Ok(at + end.len());
        }
        more(stream, buffer).await?;
    }
}
