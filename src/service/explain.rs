//! The decision on a request that nobody sent: the gateway's own judgement,
//! with its steps.

use super::context::Context;
use super::fault::{Faults, FieldFault};
use crate::domain::{ClientId, Credential, EntropyError, Grant, Jti, UnixTime};
use crate::policy::{self, Body, Decision, Denial, Reason, RequestFacts, Step, Target};
use crate::token::{Authorization, MintError, MintedToken, NewToken, mint};

/// A request to be judged, in the caller's own words.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The method.
    pub method: String,
    /// An absolute URL, or a path with a query.
    pub url: String,
    /// Whose request it is.
    pub bearer: Bearer,
}

/// Whose request it is.
#[derive(Clone)]
pub enum Bearer {
    /// Nobody's: there is no Authorization field.
    Nobody,
    /// Whoever holds this token.
    Token(String),
    /// This credential's, with a token of all its rights, made for this alone.
    Client(ClientId),
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bearer::Nobody => f.write_str("Nobody"),
            Bearer::Token(_) => f.write_str("Token([token])"),
            Bearer::Client(client) => write!(f, "Client({client})"),
        }
    }
}

/// The decision and how it came about.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The steps that were passed.
    pub steps: Vec<Step>,
    /// The answer.
    pub verdict: Verdict,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is judged, and this is the decision; never [`Decision::ReadBody`].
    Judged(Decision),
    /// The gateway answers it by itself, at this endpoint; nothing is forwarded.
    Own(&'static str),
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// What was said is not valid.
    #[error("some fields are not valid")]
    Invalid(Vec<FieldFault>),
    /// There is no such credential.
    #[error("there is no such credential")]
    UnknownClient,
    /// No randomness, no token.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The token for the credential could not be made.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// Judges the request as the data plane would at this moment. It is taken to
/// have no body: where the body decides, this is the answer for one that fits
/// none of the rules.
///
/// # Errors
/// See [`ExplainError`]. A path that could be read in two ways is none: it is
/// denied, as it would be.
pub fn explain(ctx: &Context, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    let (host, raw) = check(request).map_err(ExplainError::Invalid)?;
    let now = ctx.now();
    let minted;
    let token = match &request.bearer {
        Bearer::Nobody => None,
        Bearer::Token(text) => Some(text.as_str()),
        Bearer::Client(client) => {
            let credential =
                ctx.memory.directory.get(*client).ok_or(ExplainError::UnknownClient)?;
            minted = token_for(ctx, &credential, now)?;
            Some(minted.expose())
        }
    };
    let authorization =
        token.map_or(Authorization::Missing, |text| Authorization::of(text.as_bytes()));
    let early = |verdict| Ok(Explanation { steps: Vec::new(), verdict });
    let denied = |denial| early(Verdict::Judged(Decision::Deny(denial)));
    let front = ctx.minting.load().front.clone();
    if let Err(denial) = front.examine(&head(&request.method, host, raw, token)) {
        return denied(denial);
    }
    let target = match Target::parse(raw.as_bytes(), host) {
        Ok(target) => target,
        Err(fault) => return denied(Denial::malformed(fault.to_string())),
    };
    if let Some(endpoint) = front.find(target.path().as_str()) {
        let mut methods = endpoint.methods.split(", ");
        if methods.clone().any(|method| method == request.method) {
            return early(Verdict::Own(endpoint.name));
        }
        let allowed_methods = methods.by_ref().map(str::to_owned).collect();
        return denied(Denial { allowed_methods, ..Denial::new(Reason::MethodNotAllowed) });
    }
    let facts =
        RequestFacts { method: &request.method, host, target, authorization, body: Body::Absent };
    let (steps, decision) = policy::explain(&ctx.world.load(), &ctx.memory.revoked, &facts, now);
    Ok(Explanation { steps, verdict: Verdict::Judged(decision) })
}

/// The head that a client would send: only for its shape, so of a token it has the length.
fn head(method: &str, host: Option<&str>, target: &str, token: Option<&str>) -> Vec<u8> {
    let host = host.unwrap_or("localhost");
    let token = token.map(|text| format!("Authorization: Bearer {}\r\n", "x".repeat(text.len())));
    let token = token.unwrap_or_default();
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{token}\r\n").into_bytes()
}

/// Longer than any method, in bytes.
const LONGEST_METHOD: usize = 64;

/// The Host field and the request target that a client would send for the URL.
fn check(request: &ExplainRequest) -> Result<(Option<&str>, &str), Vec<FieldFault>> {
    let mut faults = Faults::default();
    let token_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let fits = (1..=LONGEST_METHOD).contains(&request.method.len());
    if !fits || !request.method.bytes().all(token_char) {
        faults.add("method", "must be an HTTP method, such as \"GET\"");
    }
    let scheme = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = request.url.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let (host, target) = match scheme {
        None => (None, request.url.as_str()),
        Some(rest) => match rest.find(['/', '?']) {
            Some(end) => {
                let (host, target) = rest.split_at(end);
                (Some(host), target)
            }
            None => (Some(rest), "/"),
        },
    };
    if !target.starts_with('/') || host == Some("") {
        faults
            .add("url", "must be an http or https URL with a path, or a path that begins with '/'");
    }
    faults.check()?;
    Ok((host, target))
}

/// A token as the token endpoint would mint it. It never leaves this module.
fn token_for(
    ctx: &Context,
    credential: &Credential,
    now: UnixTime,
) -> Result<MintedToken, ExplainError> {
    let world = ctx.world.load();
    let minting = ctx.minting.load();
    let mut jti = [0; 16];
    ctx.entropy.fill(&mut jti)?;
    let grant = Grant {
        scopes: world.scopes_of(&credential.roles, &credential.extra_scopes),
        environments: credential.environments.clone(),
    };
    let newest = credential.secrets.iter().map(|secret| secret.generation).max();
    let token = NewToken {
        issuer: &minting.issuer,
        audience: &minting.audience,
        client_id: credential.client_id,
        account: &credential.account,
        grant: &grant,
        generation: newest.unwrap_or(1),
        jti: Jti::from_random(jti),
        issued_at: now,
        expires_at: now.plus(minting.token_ttl),
    };
    Ok(mint(world.keys().signing(), &token)?)
}
