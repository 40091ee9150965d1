//! `explain`: how a request would be judged, by the code that judges.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::args;
use super::failure::{DONE, FAILED, Outcome, Usage};
use super::out::{self, plain};
use super::port::{AdminPort, KEY_VARIABLE, URL_VARIABLE};
use super::serve::{means, runtime};
use super::stdin;
use crate::app::{Offline, StartError};
use crate::config::{self, Config, Engine};
use crate::service::{self, Bearer, Context, ExplainError, ExplainRequest};
use crate::store::OpenError;

/// `explain …`. What keeps it from judging is a usage fault: 1 means "denied".
pub(super) fn explain(args: &args::Explain) -> Outcome {
    let config = config::load(&args.config.config)?;
    let token = args.token.as_deref().map(stdin::or_given).transpose()?;
    let found = find(config, args, token.as_deref());
    let explanation = found.map_err(|error| Usage(format!("{error:#}")))?;
    if args.output.json {
        out::json(&explanation);
    } else {
        out::answer(words(&args.method, &args.url, &explanation));
    }
    // What the gateway answers by itself is denied to nobody.
    let denied = explanation.get("decision").and_then(Value::as_str) == Some("deny");
    Ok(if denied { FAILED } else { DONE })
}

fn find(config: Config, args: &args::Explain, token: Option<&str>) -> anyhow::Result<Value> {
    let admin = config.admin.listen;
    let engine = config.store.engine;
    let ask = || ask(&format!("http://{admin}"), args, token);
    if engine == Engine::Memory && std::env::var_os(KEY_VARIABLE).is_some() {
        return ask();
    }
    let path = config.store.path.clone();
    match runtime(1)?.block_on(Offline::look(config, means(Box::new(std::io::sink())))) {
        Ok(offline) => {
            if !offline.found {
                out::note(match engine {
                    Engine::Memory => format!(
                        "the store is in the memory of a server; set {KEY_VARIABLE} and it is \
                         asked. Judged here as if there were no credentials"
                    ),
                    _ => format!(
                        "there is no store in {} yet: judged as if there were no credentials",
                        path.display()
                    ),
                });
            }
            judge(&offline.context, args, token)
        }
        Err(StartError::Open(OpenError::Locked { .. })) => ask().with_context(|| {
            format!("a running server holds the store in {}, so it has to be asked", path.display())
        }),
        Err(error) => Err(error.into()),
    }
}

fn ask(admin: &str, args: &args::Explain, token: Option<&str>) -> anyhow::Result<Value> {
    let given = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty());
    let port = AdminPort::from_env(given.as_deref().unwrap_or(admin))?;
    let mut body = json!({"method": args.method, "url": sent(&args.url)});
    if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
        body.insert("token".to_owned(), json!(token));
    }
    port.post("/v1/explain", &body)
}

/// Judges with what was found on disk.
fn judge(context: &Context, args: &args::Explain, token: Option<&str>) -> anyhow::Result<Value> {
    let bearer = token.map_or(Bearer::Nobody, |token| Bearer::Token(token.to_owned()));
    let request = ExplainRequest { method: args.method.clone(), url: sent(&args.url), bearer };
    match service::explain(context, &request) {
        Ok(found) => Ok(serde_json::to_value(crate::api::explanation(found))?),
        Err(ExplainError::Invalid(faults)) => {
            let faults: Vec<String> =
                faults.iter().map(|fault| format!("--{} {}", fault.field, fault.message)).collect();
            Err(Usage(faults.join("; ")).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// A URL as a client sends it: without what follows '#'.
fn sent(url: &str) -> String {
    url.split('#').next().unwrap_or_default().to_owned()
}

/// The explanation for people; from here or from the admin port.
fn words(method: &str, url: &str, explanation: &Value) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(plain);
    let list = |key: &str| -> String {
        let items = explanation.get(key).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(" ")
    };
    let mut lines = vec![format!("{} {}", plain(method), plain(url))];
    let steps = explanation.get("steps").and_then(Value::as_array).into_iter().flatten();
    for (place, step) in steps.enumerate() {
        let name = text(step, "step").unwrap_or_default();
        lines.push(format!(
            "  {}. {name:<24} {}",
            place + 1,
            text(step, "found").unwrap_or_default()
        ));
    }
    let decision = text(explanation, "decision");
    if decision.as_deref() == Some("local") {
        let endpoint = text(explanation, "endpoint").unwrap_or_default();
        lines.push(format!(
            "local: the gateway answers this itself ({endpoint}); no route, no upstream"
        ));
        return lines.join("\n");
    }
    if decision.as_deref() == Some("allow") {
        let upstream = text(explanation, "upstream").unwrap_or_default();
        lines.push(format!("allow: it goes to the upstream {upstream}"));
        return lines.join("\n");
    }
    let reason = text(explanation, "reason").unwrap_or_default();
    let is_routed = explanation.get("route").is_some_and(|route| !route.is_null());
    let status = explanation.get("status").map(|status| format!(" ({status})")).unwrap_or_default();
    lines.push(format!("deny: {reason}{status}"));
    for (label, value) in [
        ("what is wrong", text(explanation, "detail").unwrap_or_default()),
        ("it takes", list("needed")),
        ("methods here", list("allow")),
        ("what to do", advice(&reason, is_routed).to_owned()),
    ] {
        if !value.is_empty() {
            lines.push(format!("  {label}: {value}"));
        }
    }
    lines.join("\n")
}

fn advice(reason: &str, is_routed: bool) -> &'static str {
    match reason {
        "too_large" => "send less; [server.limits] says how much is taken",
        "malformed_request" => "send the path in its plain spelling",
        "no_route" => {
            "add a [[route]] for this path; a route with a host needs an absolute --url with that host"
        }
        "method_not_allowed" if !is_routed => {
            "the gateway answers this itself, and not this method"
        }
        "method_not_allowed" => "list the method in the route's allow",
        "token_missing" => "give the token with --token",
        "token_malformed" => "give one whole access token, without \"Bearer\"",
        "unknown_key" | "bad_signature" => {
            "mint a token at this gateway; is the store the right one?"
        }
        "wrong_issuer" | "wrong_audience" => {
            "oauth.issuer or oauth.audience differ from when it was minted: mint a new one"
        }
        "expired" => "mint a new token; if that fails, the credential itself has expired",
        "not_yet_valid" => "compare the clocks",
        "revoked" => "that is for good: mint another credential if it still has a right to live",
        "suspended" => "portcullis credential resume, if that is meant",
        "insufficient_scope" => "give the credential a role with this scope, and mint a new token",
        "not_armed" => "arm the role for this credential",
        "wrong_account" => "the path names another account than the credential's",
        "wrong_environment" => "the credential is not for this environment",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Reason;

    #[test]
    fn a_denial_says_what_to_do() {
        let text = words(
            "DELETE",
            "/x",
            &json!({"decision": "deny", "status": 403, "reason": "insufficient_scope",
                "needed": ["library.clear"], "steps": [{"step": "route", "found": "clear (/x)"}]}),
        );
        for part in [
            "1. route",
            "clear (/x)",
            "deny: insufficient_scope (403)",
            "it takes: library.clear",
            "what to do: give",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn every_reason_of_a_token_has_advice() {
        for reason in Reason::ALL {
            let of_token = [401, 403, 404, 405].contains(&reason.status());
            let is_plain = reason == Reason::WrongType;
            assert!(!of_token || is_plain || !advice(reason.as_str(), true).is_empty(), "{reason}");
        }
    }
}
