//! The story against gateways that are not ours: one that keeps its word, and
//! some that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::story::{STEPS, Stage, tell, went_well};

/// What a fake does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Gives a receipt and goes on as before.
    RevokeDoesNothing,
    /// Revokes tokens, but goes on minting them.
    RevokeForgetsMinting,
    /// Lets everything through that has a token.
    JudgesNothing,
    /// Can't mint.
    MintFails,
}

struct Fake {
    flaw: Flaw,
    revoked: AtomicBool,
}

type Reply = (StatusCode, Json<Value>);

fn error(status: StatusCode, error: &str) -> Reply {
    (status, Json(json!({"error": error})))
}

fn authorize(fake: &Fake, headers: &HeaderMap) -> Result<(), Reply> {
    if headers.get("authorization").is_none() {
        return Err(error(StatusCode::UNAUTHORIZED, "unauthorized"));
    }
    if fake.revoked.load(Ordering::SeqCst) {
        return Err(error(StatusCode::UNAUTHORIZED, "invalid_token"));
    }
    Ok(())
}

async fn list(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Result<Json<Value>, Reply> {
    authorize(&fake, &headers)?;
    Ok(Json(json!({"_embedded": {"items": [1, 2]}})))
}

async fn clear(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Result<StatusCode, Reply> {
    authorize(&fake, &headers)?;
    if fake.flaw == Flaw::JudgesNothing {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(error(StatusCode::FORBIDDEN, "insufficient_scope"))
}

async fn mint(State(fake): State<Arc<Fake>>) -> Reply {
    if fake.flaw == Flaw::MintFails {
        return error(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    }
    (StatusCode::CREATED, Json(json!({"client_id": "c", "client_secret": "s"})))
}

async fn trade(State(fake): State<Arc<Fake>>) -> Reply {
    if fake.revoked.load(Ordering::SeqCst) && fake.flaw != Flaw::RevokeForgetsMinting {
        return error(StatusCode::BAD_REQUEST, "invalid_client");
    }
    (StatusCode::OK, Json(json!({"access_token": "t", "scope": "campaign.list"})))
}

async fn revoke(State(fake): State<Arc<Fake>>) -> Reply {
    if fake.flaw != Flaw::RevokeDoesNothing {
        fake.revoked.store(true, Ordering::SeqCst);
    }
    (StatusCode::OK, Json(json!({"revision": 4})))
}

/// Runs the story against a fake. Returns the steps that came out wrong,
/// counted from 1, and whether it went well.
fn told(flaw: Flaw) -> (Vec<usize>, usize, bool) {
    let runtime = crate::cli::serve::runtime(0).unwrap();
    let fake = Arc::new(Fake { flaw, revoked: AtomicBool::new(false) });
    let app = Router::new()
        .route("/api/core/accounts/7/tests", get(list))
        .route("/backend/accounts/7/tag-clear", delete(clear))
        .route("/script/7", get(|| async { "run()" }))
        .route("/oauth2/token", post(trade))
        .route("/v1/credentials", post(mint))
        .route("/v1/credentials/c/revoke", post(revoke))
        .with_state(fake);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, app).await });
    let mut shown = 0;
    let stage = Stage { gateway: &url, admin: &url, key: "k", account: "7" };
    let steps = tell(stage, |_| shown += 1);
    assert_eq!(shown, steps.len(), "every step is shown");
    let wrong = steps.iter().enumerate().filter(|(_, step)| !step.ok).map(|(place, _)| place + 1);
    (wrong.collect(), steps.len(), went_well(&steps))
}

#[test]
fn a_gateway_that_keeps_its_word_passes() {
    assert_eq!(told(Flaw::None), (vec![], STEPS, true));
}

#[test]
fn a_revoke_that_does_nothing_is_found_out() {
    assert_eq!(told(Flaw::RevokeDoesNothing), (vec![8, 9], STEPS, false));
}

#[test]
fn other_broken_promises_are_found_out() {
    assert_eq!(told(Flaw::RevokeForgetsMinting), (vec![9], STEPS, false));
    assert_eq!(told(Flaw::JudgesNothing), (vec![5], STEPS, false));
    assert_eq!(told(Flaw::MintFails), (vec![1], 1, false));
}

#[test]
fn a_gateway_that_is_not_there_is_no_success() {
    // Bound, so that nobody else gets it, and never listened on: it refuses.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let steps = tell(Stage { gateway: &url, admin: &url, key: "k", account: "7" }, |_| {});
    assert!(!went_well(&steps) && steps[0].got.contains("no answer"), "{steps:?}");
}
