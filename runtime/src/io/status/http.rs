//! HTTP for the status: GET of a page, of `/status.json` and of `/metrics`, nothing else, for who has the token.
//!
//! What a stranger may take is bounded: connections, the head of a request, the time of each. A request is judged by its
//! method, then its `Host`, then its token, so that a page of another site, whose script a browser lets send requests
//! here, learns nothing (DNS rebinding).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::board::Board;
use super::metrics;

/// Connections at a time; further ones wait in the listener's backlog. A thousand that say nothing are through in
/// [`HEAD_WITHIN`] for each so many.
const CONNECTIONS_MAX: usize = 256;
/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// A head takes so long at most: one byte a second is not enough.
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// A connection is closed after this time, whatever it is at.
const CONNECTION_WITHIN: Duration = Duration::from_secs(20);
/// After a failed accept, so that a lack of descriptors is no storm.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PAGE: &str = include_str!("page.html");

/// The page's own style and script, and requests to where it came from; nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who may look, and under which names.
pub(crate) struct Access {
    /// What a request must bring.
    pub(crate) token: String,
    /// Names and addresses of this master, without a port.
    pub(crate) hosts: Vec<String>,
}

impl Access {
    /// Whether a `Host` header names this master. The port does not matter: it may be forwarded.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        self.hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The same time for every wrong token of the right length.
    fn is_token(&self, given: &str) -> bool {
        let (given, token) = (given.as_bytes(), self.token.as_bytes());
        let differ = |differ: u8, (a, b): (&u8, &u8)| differ | (a ^ b);
        given.len() == token.len() && given.iter().zip(token).fold(0, differ) == 0
    }
}

pub(super) async fn serve(listener: TcpListener, access: Access, board: Arc<Board>) {
    let access = Arc::new(access);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (access, board) = (Arc::clone(&access), Arc::clone(&board));
        tokio::spawn(async move {
            let connection = connection(stream, &access, &board);
            let _ = tokio::time::timeout(CONNECTION_WITHIN, connection).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, access: &Access, board: &Board) {
    let answer = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(&request, access, board))
    });
    // What a client does wrong is its own matter: it is closed.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

fn answer<B>(request: &Request<B>, access: &Access, board: &Board) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered here\n",
        );
        let get = "GET".parse().expect("a header's value");
        refused.headers_mut().insert(ALLOW, get);
        return refused;
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| access.knows(host)) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "this is not an address of this master: use the printed link, or name the host with --mw-advertise-host\n",
        );
    }
    if !token_of(request.headers(), request.uri().query())
        .is_some_and(|given| access.is_token(given))
    {
        let mut refused = text(
            StatusCode::UNAUTHORIZED,
            "a token is needed: the printed link has it, and the resource file as status-token; send it as ?token= or \
             as Authorization: Bearer\n",
        );
        let bearer = "Bearer".parse().expect("a header's value");
        refused.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        return refused;
    }
    match request.uri().path() {
        "/" => {
            let mut page = body(StatusCode::OK, "text/html; charset=utf-8", PAGE);
            let policy = POLICY.parse().expect("a header's value");
            page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            page
        }
        "/status.json" => match serde_json::to_vec(&board.look()) {
            Ok(json) => body(StatusCode::OK, "application/json", json),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        "/metrics" => body(
            StatusCode::OK,
            metrics::MEDIA_TYPE,
            metrics::page(&board.look()),
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /, /status.json and /metrics\n",
        ),
    }
}

/// `?token=..`, else the bearer's.
fn token_of<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    let mut parts = query.unwrap_or_default().split('&');
    let in_query = parts.find_map(|part| part.strip_prefix("token="));
    in_query.or_else(|| {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    })
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", text)
}

fn body(status: StatusCode, media_type: &str, bytes: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, media_type)
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(X_FRAME_OPTIONS, "DENY")
        // The link has the token in it.
        .header(REFERRER_POLICY, "no-referrer")
        .body(Full::new(bytes.into()))
        .expect("these are headers")
}

/// The addresses of this machine and its name: what a `Host` may be.
pub(crate) fn own_names(
    bound: SocketAddr,
    further: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let mut names: Vec<String> = further.into_iter().collect();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    if bound.ip().is_unspecified() {
        let all = if_addrs::get_if_addrs().unwrap_or_default();
        names.extend(all.iter().map(|interface| interface.ip().to_string()));
    } else {
        names.push(bound.ip().to_string());
    }
    names.push(
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    );
    names
}

#[cfg(test)]
mod tests {
    use ringmw_codec::status::Status;

    use super::*;

    fn access() -> Access {
        Access {
            token: "s3cret".into(),
            hosts: vec!["node7".into(), "10.0.0.1".into(), "::1".into()],
        }
    }

    fn ask(method: &str, target: &str, host: Option<&str>, bearer: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let request = request.body(()).expect("a request");
        let answer = answer(
            &request,
            &access(),
            &Board::new(std::time::Instant::now(), Status::default()),
        );
        let media = answer.headers()[CONTENT_TYPE]
            .to_str()
            .expect("text")
            .to_owned();
        (answer.status().as_u16(), media)
    }

    #[test]
    fn who_may_look_and_who_may_not() {
        let (host, bearer) = (Some("node7:8080"), Some("Bearer s3cret"));
        // (method, target, host, bearer, status)
        let rows = [
            ("GET", "/", host, bearer, 200),
            ("GET", "/?token=s3cret", host, None, 200),
            (
                "GET",
                "/status.json?a=b&token=s3cret",
                Some("[::1]:80"),
                None,
                200,
            ),
            ("GET", "/metrics", Some("NODE7"), Some("bearer s3cret"), 200),
            ("GET", "/etc/passwd", host, bearer, 404),
            ("POST", "/status.json", host, bearer, 405),
            ("HEAD", "/", host, bearer, 405),
            ("DELETE", "/", None, None, 405),
            ("GET", "/", Some("evil.example"), bearer, 421),
            ("GET", "/", Some("node7.evil.example:80"), bearer, 421),
            ("GET", "/", None, bearer, 421),
            ("GET", "/", host, None, 401),
            ("GET", "/", host, Some("Bearer s3creT"), 401),
            ("GET", "/", host, Some("Bearer "), 401),
            ("GET", "/", host, Some("Basic s3cret"), 401),
            ("GET", "/?token=", host, None, 401),
            ("GET", "/?token=s3cret2", host, None, 401),
        ];
        for (method, target, host, bearer, status) in rows {
            let (got, _) = ask(method, target, host, bearer);
            assert_eq!(got, status, "{method} {target} {host:?} {bearer:?}");
        }
    }

    #[test]
    fn each_page_has_its_media_type() {
        let media = |target| ask("GET", target, Some("10.0.0.1"), Some("Bearer s3cret")).1;
        assert!(media("/").starts_with("text/html"));
        assert_eq!(media("/status.json"), "application/json");
        assert!(media("/metrics").starts_with("text/plain; version=0.0.4"));
    }
}
