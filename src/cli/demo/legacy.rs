//! A small legacy campaign/library API, real in that it keeps state: what a
//! request changes is there for the next one. It knows nothing of tokens; like
//! any such API it believes whoever reaches it. It logs nothing. Shapes are
//! those of the real one's clients, but for the script and `duplicate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::library::{Account, Book};

/// The account whose library the demo is about.
pub(super) const ACCOUNT: &str = "41902";

type Legacy = Arc<Mutex<BTreeMap<String, Account>>>;
type Answer = Result<Response, StatusCode>;
type Pages = Query<BTreeMap<String, String>>;

/// The API, with two accounts that have something in them.
pub(super) fn router() -> Router {
    let accounts = [(ACCOUNT, "Alpine Outdoor"), ("50117", "Bakery & Sons")];
    let books = accounts.map(|(id, name)| (id.to_owned(), Account::begin(id, name)));
    let legacy: Legacy = Arc::new(Mutex::new(BTreeMap::from(books)));
    Router::new()
        .route("/api/core/accounts/{a}/tests", get(list_core))
        .route("/api/v1/accounts/{a}/tests", get(list_v1).post(create))
        .route("/api/v1/accounts/{a}/tests/{t}", get(read).patch(change).delete(delete))
        .route("/api/v1/accounts/{a}/tests/{t}/duplicate", post(duplicate))
        .route("/api/interface/accounts/{a}/tests/{t}/{verb}", patch(toggle))
        .route("/api/core/accounts/{a}/membership", get(members).post(invite))
        .route(
            "/api/core/accounts/{a}/membership/{u}",
            get(member).patch(change_member).delete(end_member),
        )
        .route("/api/v1/accounts/{a}", get(account))
        .route("/backend/accounts/{a}/tag-rebuild", patch(rebuild))
        .route("/backend/accounts/{a}/tag-clear", axum::routing::delete(clear))
        .route("/script/{a}", get(script))
        .with_state(legacy)
}

async fn list_core(
    legacy: State<Legacy>,
    Path(a): Path<String>,
    pages: Pages,
    who: HeaderMap,
) -> Answer {
    with(&legacy, &a, |account| {
        let page = Page::of(&pages, account.tests.all().len());
        let link = |number: usize| {
            let limit = page.limit;
            json!({"href": format!("/api/core/accounts/{a}/tests?_page={number}&_max_per_page={limit}")})
        };
        Ok(Json(json!({
            "page": page.number, "limit": page.limit, "pages": page.pages, "total": page.total,
            "_links": {"self": link(page.number), "first": link(1), "last": link(page.pages)},
            "_embedded": {"items": page.cut(account.tests.all())},
            "_caller": caller(&who),
        }))
        .into_response())
    })
}

async fn list_v1(
    legacy: State<Legacy>,
    Path(a): Path<String>,
    pages: Pages,
    who: HeaderMap,
) -> Answer {
    with(&legacy, &a, |account| {
        let page = Page::of(&pages, account.tests.all().len());
        Ok(Json(json!({
            "_data": page.cut(account.tests.all()),
            "_pagination": {"_total": page.total, "_pages": page.pages, "_page": page.number,
                "_max_per_page": page.limit},
            "_caller": caller(&who),
        }))
        .into_response())
    })
}

async fn create(legacy: State<Legacy>, Path(a): Path<String>, Json(test): Json<Value>) -> Answer {
    with(&legacy, &a, |account| {
        let id = account.new_test(&test);
        Ok(created(format!("/api/v1/accounts/{a}/tests/{id}")))
    })
}

async fn duplicate(legacy: State<Legacy>, Path((a, t)): Path<(String, u64)>) -> Answer {
    with(&legacy, &a, |account| {
        let mut copy = account.tests.get(t).ok_or(StatusCode::NOT_FOUND)?.clone();
        if let Some(name) = copy.get_mut("name") {
            *name = json!(format!("Copy of {}", name.as_str().unwrap_or_default()));
        }
        let id = account.new_test(&copy);
        Ok(created(format!("/api/v1/accounts/{a}/tests/{id}")))
    })
}

async fn read(legacy: State<Legacy>, Path((a, t)): Path<(String, u64)>, who: HeaderMap) -> Answer {
    with(&legacy, &a, |account| shown(account.tests.get(t), &who))
}

async fn change(
    legacy: State<Legacy>,
    Path((a, t)): Path<(String, u64)>,
    who: HeaderMap,
    Json(mut fields): Json<Value>,
) -> Answer {
    with(&legacy, &a, |account| {
        // Writing "status" is how the official command line plays and pauses.
        if let Some(status) = fields.as_object_mut().and_then(|fields| fields.remove("status")) {
            fields = json!({"state": status});
        }
        shown(account.tests.merge(t, &fields), &who)
    })
}

async fn toggle(
    legacy: State<Legacy>,
    Path((a, t, verb)): Path<(String, u64, String)>,
    who: HeaderMap,
) -> Answer {
    if !["play", "pause"].contains(&verb.as_str()) {
        return Err(StatusCode::NOT_FOUND);
    }
    with(&legacy, &a, |account| shown(account.tests.merge(t, &json!({"state": verb})), &who))
}

async fn delete(legacy: State<Legacy>, Path((a, t)): Path<(String, u64)>) -> Answer {
    with(&legacy, &a, |account| gone(&mut account.tests, t))
}

async fn members(
    legacy: State<Legacy>,
    Path(a): Path<String>,
    pages: Pages,
    who: HeaderMap,
) -> Answer {
    with(&legacy, &a, |account| {
        let page = Page::of(&pages, account.members.all().len());
        Ok(Json(json!({
            "page": page.number, "limit": page.limit, "pages": page.pages, "total": page.total,
            "_embedded": {"items": page.cut(account.members.all())},
            "_caller": caller(&who),
        }))
        .into_response())
    })
}

async fn invite(legacy: State<Legacy>, Path(a): Path<String>, Json(member): Json<Value>) -> Answer {
    with(&legacy, &a, |account| {
        let email = member.get("email").and_then(Value::as_str).ok_or(StatusCode::BAD_REQUEST)?;
        let role = member.get("role").and_then(Value::as_str).unwrap_or("viewer");
        let id = account.members.add(json!({"email": email, "role": role}));
        Ok(created(format!("/api/core/accounts/{a}/membership/{id}")))
    })
}

async fn member(
    legacy: State<Legacy>,
    Path((a, u)): Path<(String, u64)>,
    who: HeaderMap,
) -> Answer {
    with(&legacy, &a, |account| shown(account.members.get(u), &who))
}

async fn change_member(
    legacy: State<Legacy>,
    Path((a, u)): Path<(String, u64)>,
    who: HeaderMap,
    Json(fields): Json<Value>,
) -> Answer {
    with(&legacy, &a, |account| shown(account.members.merge(u, &fields), &who))
}

async fn end_member(legacy: State<Legacy>, Path((a, u)): Path<(String, u64)>) -> Answer {
    with(&legacy, &a, |account| gone(&mut account.members, u))
}

async fn account(legacy: State<Legacy>, Path(a): Path<String>, who: HeaderMap) -> Answer {
    with(&legacy, &a, |account| {
        Ok(Json(json!({
            "id": a, "name": account.name, "framework_checksum": account.checksum(),
            "library": {"version": account.version, "empty": account.script.is_empty()},
            "_caller": caller(&who),
        }))
        .into_response())
    })
}

async fn rebuild(legacy: State<Legacy>, Path(a): Path<String>, who: HeaderMap) -> Answer {
    with(&legacy, &a, |account| {
        account.rebuild();
        Ok(Json(json!({"version": account.version, "_caller": caller(&who)})).into_response())
    })
}

async fn clear(legacy: State<Legacy>, Path(a): Path<String>) -> Answer {
    with(&legacy, &a, |account| {
        account.clear();
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

async fn script(legacy: State<Legacy>, Path(a): Path<String>) -> Answer {
    with(&legacy, &a, |account| {
        let kind = [(header::CONTENT_TYPE, "text/javascript")];
        Ok((kind, account.script.clone()).into_response())
    })
}

fn with(legacy: &Legacy, id: &str, work: impl FnOnce(&mut Account) -> Answer) -> Answer {
    let mut accounts = legacy.lock();
    accounts.get_mut(id).ok_or(StatusCode::NOT_FOUND).and_then(work)
}

fn shown(item: Option<&Value>, who: &HeaderMap) -> Answer {
    let mut item = item.ok_or(StatusCode::NOT_FOUND)?.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.insert("_caller".to_owned(), caller(who));
    }
    Ok(Json(item).into_response())
}

fn created(location: String) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, location)]).into_response()
}

fn gone(book: &mut Book, id: u64) -> Answer {
    book.remove(id).ok_or(StatusCode::NOT_FOUND)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who the gateway says is calling: what this API would trust.
fn caller(headers: &HeaderMap) -> Value {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    json!({
        "client_id": field("x-portcullis-client-id"),
        "account": field("x-portcullis-account"),
        "scope": field("x-portcullis-scope"),
        "authorization_seen": headers.contains_key(header::AUTHORIZATION),
    })
}

/// One page of a list.
struct Page {
    number: usize,
    limit: usize,
    pages: usize,
    total: usize,
}

impl Page {
    fn of(query: &BTreeMap<String, String>, total: usize) -> Self {
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("_max_per_page").unwrap_or(10).clamp(1, 100);
        let number = number("_page").unwrap_or(1).max(1);
        Page { number, limit, pages: total.div_ceil(limit).max(1), total }
    }

    fn cut(&self, items: Vec<Value>) -> Vec<Value> {
        let skipped = (self.number - 1).saturating_mul(self.limit);
        items.into_iter().skip(skipped).take(self.limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn send(api: &Router, line: &str, body: &str) -> (u16, Option<String>, String) {
        let (method, uri) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .header("x-portcullis-client-id", "c1");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = api.clone().oneshot(request).await.unwrap();
        let location = response.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, location, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_is_changed_stays_changed() {
        let api = router();
        let tests = "/api/v1/accounts/41902/tests";
        let (status, location, body) =
            send(&api, &format!("POST {tests}"), r#"{"name":"New"}"#).await;
        assert_eq!((status, body.as_str()), (201, ""));
        let location = location.unwrap();
        assert!(send(&api, &format!("GET {location}"), "").await.2.contains("\"pause\""));
        let play = location.replace("/v1/", "/interface/") + "/play";
        assert_eq!(send(&api, &format!("PATCH {play}"), "").await.0, 200);
        let (_, _, shown) = send(&api, &format!("GET {location}"), "").await;
        assert!(shown.contains("\"play\"") && shown.contains("c1"), "{shown}");
        send(&api, &format!("PATCH {location}"), r#"{"status":"pause"}"#).await;
        assert!(send(&api, &format!("GET {location}"), "").await.2.contains("\"pause\""));
        let (status, copy, _) = send(&api, &format!("POST {location}/duplicate"), "").await;
        assert_eq!(status, 201);
        assert!(send(&api, &format!("GET {}", copy.unwrap()), "").await.2.contains("Copy of New"));
        assert_eq!(send(&api, &format!("DELETE {location}"), "").await.0, 204);
        assert_eq!(send(&api, &format!("GET {location}"), "").await.0, 404);
        assert_eq!(send(&api, "GET /api/v1/accounts/999/tests", "").await.0, 404);
    }

    #[tokio::test]
    async fn lists_have_the_shapes_that_clients_know() {
        let api = router();
        let core = "GET /api/core/accounts/41902/tests?_page=2&_max_per_page=2";
        let page: Value = serde_json::from_str(&send(&api, core, "").await.2).unwrap();
        assert_eq!((&page["pages"], &page["total"]), (&json!(2), &json!(3)));
        assert_eq!(page["_embedded"]["items"].as_array().unwrap().len(), 1);
        assert!(page["_links"]["first"]["href"].as_str().unwrap().starts_with("/api/core/"));
        let v1: Value =
            serde_json::from_str(&send(&api, "GET /api/v1/accounts/41902/tests", "").await.2)
                .unwrap();
        assert_eq!(v1["_pagination"]["_total"], 3);
        assert_eq!(v1["_data"].as_array().unwrap().len(), 3);
        let members = "/api/core/accounts/41902/membership";
        let (status, location, _) =
            send(&api, &format!("POST {members}"), r#"{"email":"x@example.com"}"#).await;
        assert_eq!(status, 201);
        assert_eq!(send(&api, &format!("DELETE {}", location.unwrap()), "").await.0, 204);
    }

    #[tokio::test]
    async fn clearing_really_empties_the_library() {
        let api = router();
        assert!(send(&api, "GET /script/41902", "").await.2.contains("Green buy button"));
        assert_eq!(send(&api, "DELETE /backend/accounts/41902/tag-clear", "").await.0, 204);
        assert_eq!(send(&api, "GET /script/41902", "").await.2, "");
        assert!(!send(&api, "GET /script/50117", "").await.2.is_empty());
        assert_eq!(send(&api, "PATCH /backend/accounts/41902/tag-rebuild", "").await.0, 200);
        assert!(send(&api, "GET /script/41902", "").await.2.contains("version 2"));
    }
}
