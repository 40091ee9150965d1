//! `demo`: the whole of it on one machine. It needs nothing and leaves nothing.

mod legacy;
mod library;
mod scene;
mod story;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use legacy::ACCOUNT;
use scene::{ADMIN, Scene};
use story::{STEPS, Stage, Step, tell, went_well};

use super::failure::{DONE, FAILED, Outcome};
use super::port::AdminPort;
use super::serve::{Signals, runtime};
use super::{logging, out};

/// `demo …`
pub(super) fn demo(once: bool, as_json: bool) -> Outcome {
    let _logging = logging::start("warn");
    let runtime = runtime(0)?;
    let outcome = if once { tell_once(&runtime, as_json) } else { stay_up(&runtime) };
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// The three credentials: what they are for, and their roles.
const CREDENTIALS: [(&str, &str, &[&str]); 3] = [
    ("reader", "Reads campaigns", &["campaign-reader"]),
    ("operator", "Reads, plays, pauses, duplicates", &["campaign-reader", "campaign-operator"]),
    ("library-emergency", "Empties the library", &["library-emergency"]),
];

/// A credential as it was minted.
struct Minted {
    name: &'static str,
    roles: &'static [&'static str],
    client_id: String,
    client_secret: String,
}

fn tell_once(runtime: &tokio::runtime::Runtime, as_json: bool) -> Outcome {
    let scene = runtime.block_on(Scene::set(|| Box::new(std::io::sink())))?;
    if !as_json {
        out::answer(format_args!(
            "A gateway at {}, its admin port at {}, a campaign API behind it at {}.\n",
            scene.gateway, scene.admin, scene.legacy
        ));
    }
    let stage = Stage {
        gateway: &scene.gateway,
        admin: &scene.admin,
        key: scene.key.expose(),
        account: ACCOUNT,
    };
    let mut number = 0;
    let steps = tell(stage, |step| {
        number += 1;
        if !as_json {
            out::answer(words(number, step));
        }
    });
    let ok = went_well(&steps);
    if as_json {
        out::json(&json!({"ok": ok, "steps": steps}));
    } else {
        out::answer(ending(&steps));
    }
    runtime.block_on(scene.strike())?;
    Ok(if ok { DONE } else { FAILED })
}

fn words(number: usize, step: &Step) -> String {
    let verdict = if step.ok { "ok" } else { "WRONG" };
    format!(
        "{number}. {}\n   {}\n   expected {}\n   got      {}  … {verdict}\n",
        step.what, step.request, step.expected, step.got
    )
}

fn ending(steps: &[Step]) -> String {
    let right = steps.iter().filter(|step| step.ok).count();
    if went_well(steps) {
        format!("All {STEPS} steps came out right. Try it yourself: portcullis demo")
    } else {
        format!("{right} of {STEPS} steps came out right. This gateway does not keep its word.")
    }
}

fn stay_up(runtime: &tokio::runtime::Runtime) -> Outcome {
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen()?
    };
    let scene = runtime.block_on(Scene::set(|| Box::new(std::io::stdout())))?;
    let minted = mint_all(&scene)?;
    out::answer(guide(&scene, &minted));
    runtime.block_on(signals.end());
    out::note("\nending, and removing everything");
    runtime.block_on(scene.strike())?;
    Ok(DONE)
}

/// Mints through the admin port, as anyone would.
fn mint_all(scene: &Scene) -> anyhow::Result<Vec<Minted>> {
    let admin = AdminPort::new(&scene.admin, scene.key.expose())?;
    let mint = |(name, description, roles): (&'static str, &str, &'static [&'static str])| {
        let order = json!({"name": name, "description": description, "account": ACCOUNT,
            "roles": roles});
        let made = admin.post("/v1/credentials", &order)?;
        let field = |key: &str| {
            let text = made.get(key).and_then(Value::as_str).map(str::to_owned);
            text.with_context(|| format!("the admin port gave no {key}"))
        };
        Ok(Minted {
            name,
            roles,
            client_id: field("client_id")?,
            client_secret: field("client_secret")?,
        })
    };
    CREDENTIALS.into_iter().map(mint).collect()
}

/// Addresses, keys, and lines to paste.
fn guide(scene: &Scene, minted: &[Minted]) -> String {
    let Scene { gateway, admin, metrics, legacy, key, folder, .. } = scene;
    let folder = folder.path().display();
    let key = key.expose();
    let mut text = format!(
        "portcullis {}: a whole installation on this machine, gone when you press Ctrl-C\n\n  \
         gateway   {gateway}  what partners call\n  \
         admin     {admin}  what administrators call\n  \
         metrics   {metrics}/metrics\n  \
         legacy    {legacy}  the API behind it; it believes whoever reaches it\n  \
         folder    {folder}  configuration and store\n\n\
         administrator {ADMIN} (super-admin)\n  key            {key}\n",
        env!("CARGO_PKG_VERSION")
    );
    for Minted { name, roles, client_id, client_secret } in minted {
        text.push_str(&format!(
            "\ncredential {name} ({}; account {ACCOUNT})\n  client_id      {client_id}\n  \
             client_secret  {client_secret}\n",
            roles.join(", ")
        ));
    }
    let trade = |name: &str| {
        let found = minted.iter().find(|minted| minted.name == name);
        let (id, secret) =
            found.map_or(("", ""), |found| (&*found.client_id, &*found.client_secret));
        format!(
            "TOKEN=$(curl -sS {gateway}/oauth2/token -d grant_type=client_credentials \
             -d client_id={id} -d client_secret={secret} | \
             sed 's/.*\"access_token\": *\"\\([^\"]*\\)\".*/\\1/')"
        )
    };
    let program = std::env::current_exe().map_or("portcullis".into(), |path| quoted(&path));
    let bearer = "-H \"Authorization: Bearer $TOKEN\"";
    let reader = minted.first().map_or("", |reader| &reader.client_id);
    let list = format!("curl -sSi {gateway}/api/core/accounts/{ACCOUNT}/tests {bearer}");
    let clear =
        format!("curl -sSi -X DELETE {gateway}/backend/accounts/{ACCOUNT}/tag-clear {bearer}");
    let lines = [
        (
            "trade the reader's credential for a token, and read campaigns: 200",
            format!("{}\n{list}", trade("reader")),
        ),
        ("try to clear the library: 403", clear.clone()),
        (
            "revoke the reader; the same token again: 401",
            format!(
                "curl -sS -X POST {admin}/v1/credentials/{reader}/revoke -H \"Authorization: \
                 Bearer {key}\" -H 'Content-Type: application/json' -d '{{\"reason\":\"demo\"}}'\n{list}"
            ),
        ),
        (
            "the library, before and after the emergency: 204 empties it",
            format!(
                "curl -sS {gateway}/script/{ACCOUNT}\n{}\n{clear}\ncurl -sS {gateway}/script/{ACCOUNT}",
                trade("library-emergency")
            ),
        ),
        (
            "the same with the commands, in another terminal",
            format!(
                "export PORTCULLIS_ADMIN_URL={admin} PORTCULLIS_ADMIN_KEY={key}\n\
                 {program} credential list\n{program} audit list\n\
                 {program} explain --config {folder}/portcullis.toml --method DELETE \
                 --url /backend/accounts/{ACCOUNT}/tag-clear --token \"$TOKEN\""
            ),
        ),
    ];
    for (what, commands) in lines {
        text.push_str(&format!("\n# {what}\n{commands}\n"));
    }
    text.push_str("\nEvery request shows up below as one line of the access log.\n");
    text
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
