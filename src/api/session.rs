//! Sessions of the console: who signed in with a key and goes on with a cookie.
//!
//! They live in memory, end with the process, and are nothing but another
//! proof of who calls: what an administrator may do is looked up every time.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{HeaderMap, Method, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use crate::domain::{AdminName, Administrator, EntropyError, SecretHash, UnixTime};
use crate::service::Context;

/// The name of the cookie.
pub(crate) const COOKIE: &str = "portcullis_session";

/// A session nobody uses ends after this long.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// Any session ends after this long.
pub(crate) const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Of one administrator; one more, and the one longest unused ends.
pub(crate) const EACH: usize = 16;

type Id = [u8; 32];

struct Session {
    name: AdminName,
    /// Tells an administrator from a later one of the same name.
    key_hash: SecretHash,
    started: UnixTime,
    seen: UnixTime,
}

impl Session {
    fn lives(&self, now: UnixTime) -> bool {
        now.since(self.started) < LONGEST && now.since(self.seen) < IDLE
    }
}

/// All sessions: a bounded number for each administrator.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Id, Session>>);

impl Sessions {
    /// Begins one; gives the value of its cookie.
    pub(crate) fn open(
        &self,
        ctx: &Context,
        admin: &Administrator,
    ) -> Result<String, EntropyError> {
        let mut id = Id::default();
        ctx.entropy.fill(&mut id)?;
        let now = ctx.now();
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.lives(now));
        let mine = sessions.iter().filter(|(_, session)| session.name == admin.name);
        let mut mine: Vec<_> = mine.map(|(id, session)| (session.seen, *id)).collect();
        mine.sort_unstable();
        for (_, oldest) in mine.iter().take((mine.len() + 1).saturating_sub(EACH)) {
            sessions.remove(oldest);
        }
        let (name, key_hash) = (admin.name.clone(), admin.key_hash.clone());
        sessions.insert(id, Session { name, key_hash, started: now, seen: now });
        Ok(URL_SAFE_NO_PAD.encode(id))
    }

    /// Whose session it is, if it lives and its administrator is still one. To
    /// look is to use: the idle time begins anew.
    pub(crate) fn find(&self, ctx: &Context, value: &str) -> Option<std::sync::Arc<Administrator>> {
        let (id, now) = (read(value)?, ctx.now());
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&id)?;
        let admin = ctx.memory.admins.get(&session.name);
        let admin = admin.filter(|admin| admin.key_hash == session.key_hash);
        if admin.is_none() || !session.lives(now) {
            sessions.remove(&id);
            return None;
        }
        session.seen = now;
        admin
    }

    /// Ends one, if it is there.
    pub(crate) fn close(&self, value: &str) {
        if let Some(id) = read(value) {
            self.0.lock().remove(&id);
        }
    }
}

fn read(value: &str) -> Option<Id> {
    URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
}

/// The value of the session's cookie. Two of them are none: one was planted.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut found = fields.flat_map(|field| field.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    });
    let value = found.next()?;
    Some(if found.next().is_none() { value } else { "" })
}

/// True if the call changes nothing, or no other page made it.
pub(crate) fn may_change(method: &Method, headers: &HeaderMap, uri: &Uri) -> bool {
    matches!(*method, Method::GET | Method::HEAD) || is_own(headers, uri)
}

/// True unless a browser says that another site's page made the call: it can send the
/// cookie along, or sign somebody in as somebody else, but not write these fields. Who
/// says nothing of the kind is no browser: those name the origin of every change.
pub(crate) fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    same_origin(headers, uri)
        .unwrap_or_else(|| matches!(fetch_site(headers), None | Some("same-origin")))
}

/// Whether Origin names the host that was asked; nothing without an Origin.
fn same_origin(headers: &HeaderMap, uri: &Uri) -> Option<bool> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next()?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let named = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    Some(match (named, host) {
        (Some(("http" | "https", named)), Some(host)) => {
            origins.next().is_none() && named.eq_ignore_ascii_case(host)
        }
        _ => false,
    })
}

fn fetch_site(headers: &HeaderMap) -> Option<&str> {
    Some(headers.get("sec-fetch-site")?.to_str().unwrap_or_default())
}
