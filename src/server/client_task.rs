//! Between a socket and its `ClientConn`: reads, writes, waits. One task per connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

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

/// Serves a connection until it ends, and tells the core if the core knows of it. What it serves is borrowed,
/// and captured by blocks: an `async fn` holds room for each of its arguments twice.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub fn run(
    context: &ClientContext,
    stream: &mut TcpStream,
    conn: &mut ClientConn,
) -> impl Future<Output = ()> {
    async move {
        let outcome = serve(context, stream, conn).await;
        if let Err(error) = &outcome {
            tracing::debug!(peer = %conn.shared().peer, %error, "connection ended");
        }
        conn.hang_up(&context.shared);
        if !conn.is_new() {
            context.core.submit(vec![Input::ConnClosed(conn.shared().id)]);
        }
        if matches!(outcome, Ok(End::Finished)) {
            let _ = Box::pin(timeout(LINGER, linger(stream))).await;
        }
    }
}

/// How a connection came to its end.
enum End {
    /// The server has said its last word; the client may still be sending.
    Finished,
    /// The client is gone, or was refused without a word.
    Gone,
}

/// What a connection waits for.
enum Event {
    /// There is something in its outbox.
    Outbox,
    /// The socket has something to be read, or has failed.
    Readable(io::Result<()>),
    /// The socket takes more, or has failed.
    Writable(io::Result<()>),
    /// The timer's time has come.
    Time,
}

#[expect(clippy::manual_async_fn, reason = "as `run`")]
fn serve(
    context: &ClientContext,
    stream: &mut TcpStream,
    conn: &mut ClientConn,
) -> impl Future<Output = io::Result<End>> {
    async move {
        let mut timer = Timer::default();
        let accepted = Instant::from_std(context.clock.instant(context.clock.now().mono));
        timer.set(Some(accepted + context.sessionless_timeout));
        loop {
            let has_more = advance(context, conn);
            let mut is_sent = true;
            if conn.is_alone() {
                if conn.is_closing() || conn.is_done_alone() {
                    return Ok(End::Gone);
                }
            } else {
                is_sent = match flush(stream, conn) {
                    Ok(is_sent) => is_sent,
                    Err(error) if conn.client_is_gone() => return Err(error),
                    Err(_) => continue,
                };
                if conn.is_closing() {
                    if !is_sent {
                        Box::pin(flush_all(stream, conn)).await?;
                    }
                    return Ok(End::Finished);
                }
            }
            if has_more && (conn.is_alone() || conn.may_go_on()) {
                tokio::task::yield_now().await;
                continue;
            }
            let wants_input = !conn.is_alone() && conn.wants_input(&context.shared);
            if !conn.is_new() {
                let retry_at = conn.retry_at();
                timer.set(retry_at.map(|at| Instant::from_std(context.clock.instant(at))));
            }
            match poll_fn(|task| poll_event(task, stream, conn, &mut timer, wants_input, !is_sent)).await {
                Event::Outbox => {}
                Event::Readable(ready) => {
                    ready?;
                    let is_open = poll_fn(|task| Poll::Ready(receive(task, stream, conn))).await;
                    if !matches!(is_open, Ok(true)) && conn.client_is_gone() {
                        return is_open.map(|_| End::Gone);
                    }
                }
                Event::Writable(ready) => ready?,
                Event::Time if conn.is_new() => {
                    context.shared.metrics.sessionless_connections_expired.add(1);
                    let peer = conn.shared().peer;
                    tracing::debug!(%peer, "closing a connection that asked for no session");
                    return Ok(End::Gone);
                }
                Event::Time => {}
            }
        }
    }
}

/// Waits for whatever comes first. Futures that wait for one thing each would be most of what an idle
/// connection weighs.
fn poll_event(
    task: &mut Context<'_>,
    stream: &TcpStream,
    conn: &ClientConn,
    timer: &mut Timer,
    reads: bool,
    writes: bool,
) -> Poll<Event> {
    if conn.shared().outbox.poll_ready(task.waker()) {
        return Poll::Ready(Event::Outbox);
    }
    if reads && let Poll::Ready(ready) = stream.poll_read_ready(task) {
        return Poll::Ready(Event::Readable(ready));
    }
    if writes && let Poll::Ready(ready) = stream.poll_write_ready(task) {
        return Poll::Ready(Event::Writable(ready));
    }
    timer.poll(task).map(|()| Event::Time)
}

/// When a connection goes on though nothing happens to it. Those with a session seldom have one.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn set(&mut self, at: Option<Instant>) {
        if self.0.as_ref().map(|sleep| sleep.deadline()) != at {
            self.0 = at.map(|at| Box::pin(sleep_until(at)));
        }
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(task),
            None => Poll::Pending,
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

/// Takes what the socket has; does not wait for more. False at its end. A read that leaves room has emptied
/// the socket: unlike `try_read`, this one knows, and the next wait does not ask the system again.
fn receive(task: &mut Context<'_>, stream: &mut TcpStream, conn: &mut ClientConn) -> io::Result<bool> {
    match pin!(stream.read_buf(conn.input_buffer())).poll(task) {
        Poll::Ready(Ok(0)) => Ok(false),
        Poll::Ready(Ok(_)) | Poll::Pending => Ok(true),
        Poll::Ready(Err(error)) => Err(error),
    }
}

/// Says that nothing more comes, then takes in what the client still sends. A plain close could answer that
/// with a reset, which makes the client's kernel throw away the last reply.
async fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut sink = vec![0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// How long a connection may take to accept some of its last bytes, and to close.
const LINGER: Duration = Duration::from_secs(2);
