//! Between a socket and its `ClientConn`: reads, writes, waits. One task per connection.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::clock::Clock;
use super::core_thread::CoreHandle;
use super::four_letter::FourLetterAnswers;
use crate::client::{ClientConn, Submit};
use crate::replica::Input;
use crate::shared::Shared;

/// What every connection of a server uses.
pub struct ClientContext {
    /// The server's state.
    pub shared: Arc<Shared>,
    /// Where writes go.
    pub core: CoreHandle,
    /// The clocks.
    pub clock: Clock,
    /// Texts of four-letter words.
    pub four_letter: FourLetterAnswers,
    /// How long a connection may stay without a session.
    pub sessionless_timeout: Duration,
}

/// Serves a connection until it ends, and tells the core if the core knows of it.
pub async fn run(context: &ClientContext, mut stream: TcpStream, mut conn: ClientConn) {
    let deadline =
        Instant::from_std(context.clock.instant(context.clock.now().mono)) + context.sessionless_timeout;
    let outcome = serve(context, &mut stream, &mut conn, deadline).await;
    if let Err(error) = &outcome {
        tracing::debug!(peer = %conn.shared().peer, %error, "connection ended");
    }
    if !conn.is_new() {
        context.core.submit(vec![Input::ConnClosed(conn.shared().id)]);
    }
    if matches!(outcome, Ok(End::Finished)) {
        let _ = timeout(LINGER, linger(stream)).await;
    }
}

/// How a connection came to its end.
enum End {
    /// The server has said its last word; the client may still be sending.
    Finished,
    /// The client is gone, or was refused without a word.
    Gone,
}

async fn serve(
    context: &ClientContext,
    stream: &mut TcpStream,
    conn: &mut ClientConn,
    deadline: Instant,
) -> io::Result<End> {
    loop {
        let has_more = advance(context, conn);
        let is_sent = flush(stream, conn)?;
        if conn.is_closing() {
            if !is_sent {
                flush_all(stream, conn).await?;
            }
            return Ok(End::Finished);
        }
        if has_more && !conn.is_backlogged() {
            tokio::task::yield_now().await;
            continue;
        }
        let wants_input = conn.wants_input(&context.shared);
        tokio::select! {
            biased;
            () = outbox_ready(conn) => {}
            ready = stream.readable(), if wants_input => {
                ready?;
                if !receive(stream, conn)? {
                    return Ok(End::Gone);
                }
            }
            ready = stream.writable(), if !is_sent => ready?,
            () = sleep_until(deadline), if conn.is_new() => {
                context.shared.metrics.sessionless_connections_expired.add(1);
                tracing::debug!(peer = %conn.shared().peer, "closing a connection that asked for no session");
                return Ok(End::Gone);
            }
        }
    }
}

/// Lets the connection move on, and hands what the core has to do to the core.
fn advance(context: &ClientContext, conn: &mut ClientConn) -> bool {
    let mut submits = Vec::new();
    let has_more = conn.advance(context.clock.now(), &context.shared, &mut submits);
    if !submits.is_empty() {
        let inputs = submits.into_iter().map(|submit| match submit {
            Submit::Connect(request) => Input::Connect {
                conn: Arc::clone(conn.shared()),
                request,
            },
            Submit::Request(request) => Input::Client(request),
        });
        context.core.submit(inputs.collect());
    }
    if let Some(word) = conn.four_letter_word() {
        let text = context.four_letter.answer(word, conn.unread(), conn.shared().id);
        conn.finish_with(text.as_bytes());
    }
    has_more
}

/// Sends what the socket takes. True if nothing is left.
fn flush(stream: &TcpStream, conn: &mut ClientConn) -> io::Result<bool> {
    while !conn.output().is_empty() {
        match stream.try_write(conn.output()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => conn.sent(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Sends everything, for as long as the client goes on taking it.
async fn flush_all(stream: &mut TcpStream, conn: &mut ClientConn) -> io::Result<()> {
    while !flush(stream, conn)? {
        timeout(LINGER, stream.writable()).await??;
    }
    Ok(())
}

/// Takes what the socket has. False at its end.
fn receive(stream: &TcpStream, conn: &mut ClientConn) -> io::Result<bool> {
    match stream.try_read_buf(conn.input_buffer()) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

async fn outbox_ready(conn: &ClientConn) {
    poll_fn(|context| {
        if conn.shared().outbox.poll_ready(context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Says that nothing more comes, then takes in what the client still sends. A plain close could answer that
/// with a reset, which makes the client's kernel throw away the last reply.
async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut sink = vec![0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// How long a connection may take to accept some of its last bytes, and to close.
const LINGER: Duration = Duration::from_secs(2);
