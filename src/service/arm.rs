//! Armed roles: granted dormant, awake for minutes when an administrator says so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;

use super::actor::Actor;
use super::change::{Line, recorded};
use super::change_credential::{Changed, Next, UpdateError, change_credential};
use super::context::Context;
use super::fault::FieldFault;
use crate::domain::{Action, AuditEntry, Changes, ClientId, Credential, RoleId, UnixTime};
use crate::store::CommitError;

/// The longest a role may be armed for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Until when a role is awake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The role; `None` if it is all of them.
    pub role: Option<RoleId>,
    /// Until when; `None` if it sleeps.
    pub until: Option<UnixTime>,
    /// Of the commit that says so.
    pub revision: u64,
    /// How many streams and requests in flight were cut.
    pub streams_closed: usize,
}

/// Credentials with roles that are armed, to see when their time is over and
/// whether it was used.
#[derive(Default)]
pub struct Armed {
    windows: DashMap<ClientId, Vec<Awake>>,
    /// First uses that are not in the trail yet: no request waits for the store.
    uses: Mutex<Vec<FirstUse>>,
}

/// One role, awake.
struct Awake {
    role: RoleId,
    until: UnixTime,
    used: AtomicBool,
}

/// The first request that a window allowed.
struct FirstUse {
    client: ClientId,
    role: RoleId,
    until: UnixTime,
    at: UnixTime,
}

impl Armed {
    pub(super) fn put(&self, credential: &Credential) {
        if credential.armed.is_empty() || credential.changeable().is_err() {
            self.windows.remove(&credential.client_id);
            return;
        }
        let mut windows = self.windows.entry(credential.client_id).or_default();
        let used = |role: &RoleId, until: UnixTime| {
            let same = windows.iter().find(|w| w.role == *role && w.until == until);
            same.is_some_and(|window| window.used.load(Ordering::Relaxed))
        };
        let awake = credential.armed.iter().map(|(role, until)| Awake {
            role: role.clone(),
            until: *until,
            used: AtomicBool::new(used(role, *until)),
        });
        let awake = awake.collect();
        *windows = awake;
    }

    /// Notes that a window allowed a request. Only the first counts; the trail
    /// hears of it from [`note_uses`].
    pub fn used(&self, client: ClientId, role: &RoleId, until: UnixTime, now: UnixTime) {
        let Some(windows) = self.windows.get(&client) else { return };
        let mut windows = windows.iter().filter(|w| w.role == *role && w.until == until);
        let first = windows.any(|window| {
            !window.used.load(Ordering::Relaxed) && !window.used.swap(true, Ordering::Relaxed)
        });
        if first {
            self.uses.lock().push(FirstUse { client, role: role.clone(), until, at: now });
        }
    }

    fn over(&self, now: UnixTime) -> Vec<ClientId> {
        let over = self.windows.iter().filter(|entry| entry.iter().any(|w| now >= w.until));
        over.map(|entry| *entry.key()).collect()
    }
}

/// Wakes an armed role of a credential for a while, from now.
///
/// # Errors
/// See [`UpdateError`]: the role must be an armed one that the credential holds.
pub async fn arm(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    role: &str,
    how_long: Duration,
) -> Result<Window, UpdateError> {
    if how_long.is_zero() || how_long > LONGEST {
        let fault = FieldFault::new("for", "must be longer than nothing and at most \"24h\"");
        return Err(UpdateError::Invalid(vec![fault]));
    }
    let step = |credential: &Credential, now: UnixTime| {
        let role = armable(ctx, credential, role)?;
        let until = now.plus(how_long);
        let mut next = credential.clone();
        next.armed.insert(role.clone(), until);
        let reason = window_text(&role, until);
        Ok(Next::Changed(Box::new(next), (Some(role), Some(until)), Some(reason)))
    };
    window(change_credential(ctx, actor, client, Action::RoleArmed, step).await?)
}

/// Puts an armed role of a credential to sleep, at once, or all of them, if none is
/// named. Asleep it stays.
///
/// # Errors
/// See [`UpdateError`].
pub async fn disarm(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    role: Option<&str>,
) -> Result<Window, UpdateError> {
    let step = |credential: &Credential, _: UnixTime| {
        let role = role.map(|role| armable(ctx, credential, role)).transpose()?;
        let mut next = credential.clone();
        next.armed.retain(|armed, _| role.as_ref().is_some_and(|role| role != armed));
        let gone = credential.armed.keys().filter(|armed| !next.armed.contains_key(*armed));
        let gone: Vec<&str> = gone.map(RoleId::as_str).collect();
        if gone.is_empty() {
            return Ok(Next::Same((role, None)));
        }
        let reason = gone.join(", ");
        Ok(Next::Changed(Box::new(next), (role, None), Some(reason)))
    };
    window(change_credential(ctx, actor, client, Action::RoleDisarmed, step).await?)
}

/// How the trail names a window.
fn window_text(role: &RoleId, until: UnixTime) -> String {
    format!("{role} until {until}")
}

#[expect(clippy::unnecessary_wraps, reason = "the end of two calls that fail otherwise")]
fn window(changed: Changed<(Option<RoleId>, Option<UnixTime>)>) -> Result<Window, UpdateError> {
    let Changed { answer: (role, until), revision, ended, .. } = changed;
    Ok(Window { role, until, revision, streams_closed: ended })
}

fn armable(ctx: &Context, credential: &Credential, id: &str) -> Result<RoleId, UpdateError> {
    let world = ctx.world.load();
    let fault = |text: &str| Err(UpdateError::Invalid(vec![FieldFault::new("role", text)]));
    match world.roles().iter().find(|role| role.id.as_str() == id) {
        None => fault("is no role of this gateway"),
        Some(role) if !role.armed => fault("is no armed role: it always counts"),
        Some(role) if !credential.roles.contains(&role.id) => {
            fault("is not held by the credential")
        }
        Some(role) => Ok(role.id.clone()),
    }
}

/// First uses on their way to the trail. Whoever waits for the store may be ended
/// meanwhile: what is not in the trail when this is dropped waits for the next time.
struct Taken<'a> {
    from: &'a Mutex<Vec<FirstUse>>,
    left: VecDeque<FirstUse>,
    failed: Vec<FirstUse>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut uses = self.from.lock();
        uses.append(&mut self.failed);
        uses.extend(self.left.drain(..));
    }
}

/// Writes down the windows that were used, each once. What can't be written now
/// is the next time, also if this is dropped.
pub async fn note_uses(ctx: &Context) {
    let from = &ctx.memory.armed.uses;
    let left = std::mem::take(&mut *from.lock()).into();
    let mut taken = Taken { from, left, failed: Vec::new() };
    while let Some(first) = taken.left.front() {
        let noted = note_use(ctx, first).await;
        let Some(first) = taken.left.pop_front() else { return };
        if let Err(error) = noted {
            tracing::warn!(client = %first.client, %error, "the use of an armed role was not written down yet");
            taken.failed.push(first);
        }
    }
}

async fn note_use(ctx: &Context, first: &FirstUse) -> Result<(), CommitError> {
    let (target, reason) = (first.client.to_string(), window_text(&first.role, first.until));
    // A restart forgets what it has written of a window that is still open.
    let ours = |entry: &AuditEntry| {
        matches!(entry.action, Action::RoleUsed | Action::RoleArmed)
            && entry.target == target
            && entry.reason.as_ref() == Some(&reason)
    };
    let (found, _) = ctx.memory.trail.list(None, 1, ours);
    if found.first().is_some_and(|(_, entry)| entry.action == Action::RoleUsed) {
        return Ok(());
    }
    let Some(credential) = ctx.memory.directory.get(first.client) else { return Ok(()) };
    let line = Line {
        actor: &Actor::client(&credential),
        at: first.at,
        action: Action::RoleUsed,
        target,
        reason: Some(reason),
        changes: Changes::new(),
    };
    ctx.store.commit(recorded(Vec::new(), Vec::new(), line)).await.map(drop)
}

/// Takes windows that are over off their credentials, for the trail. Gives their
/// roles. That the roles count no more does not wait for this.
pub async fn lapse(ctx: &Context) -> Vec<RoleId> {
    let mut lapsed = Vec::new();
    for client in ctx.memory.armed.over(ctx.now()) {
        let step = |credential: &Credential, now: UnixTime| {
            let over = credential.armed.iter().filter(|(_, until)| now >= **until);
            let over: Vec<RoleId> = over.map(|(role, _)| role.clone()).collect();
            if over.is_empty() {
                return Ok(Next::Same(over));
            }
            let mut next = credential.clone();
            next.armed.retain(|_, until| now < *until);
            let reason = over.iter().map(RoleId::as_str).collect::<Vec<_>>().join(" ");
            Ok(Next::Changed(Box::new(next), over, Some(reason)))
        };
        let gateway = Actor::gateway();
        match change_credential(ctx, &gateway, client, Action::RoleLapsed, step).await {
            Ok(changed) => lapsed.extend(changed.answer),
            Err(error) => tracing::warn!(%client, %error, "a lapse was not written down yet"),
        }
    }
    lapsed
}
