//! What a configuration holds, to tell what a new one changes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::check::count;
use crate::config::{Config, Tls};
use crate::domain::SecretText;

type Named = BTreeMap<String, String>;

/// Names and what stands behind them. Secrets are not in it: that one of them
/// was exchanged does not show.
#[derive(Debug)]
pub(super) struct Inventory {
    parts: [(&'static str, Named); 4],
    /// What only a restart changes.
    fixed: Vec<(&'static str, String)>,
}

impl Inventory {
    pub(super) fn of(config: &Config) -> Self {
        let routes = config.routes.routes().iter().map(|route| {
            let methods: Vec<_> = route
                .methods
                .iter()
                .map(|(method, rule)| {
                    let rules: Vec<_> =
                        rule.body_rules.iter().map(|r| (&r.keys, &r.allow.0)).collect();
                    format!("{method} {:?} {rules:?}", rule.access)
                })
                .collect();
            let whole = (&route.host, &route.template, &route.upstream, route.body_bytes);
            let bound = (&route.account, &route.environment);
            (route.name.to_string(), format!("{whole:?} {bound:?} {methods:?}"))
        });
        let roles = config.roles.iter().map(|role| (role.id.to_string(), format!("{role:?}")));
        let upstreams = config.upstreams.iter().map(|u| (u.name.to_string(), format!("{u:?}")));
        let (server, oauth) = (&config.server, &config.oauth);
        let settings = [
            ("server.trusted_proxies", format!("{:?}", server.trusted_proxies)),
            ("server.tls", server.tls.as_ref().map(shown_and_asked).unwrap_or_default()),
            ("server.limits", format!("{:?}", server.limits)),
            ("oauth.issuer", oauth.issuer.clone()),
            ("oauth.audience", oauth.audience.clone()),
            ("oauth.token_ttl", format!("{:?}", oauth.token_ttl)),
            ("oauth.max_token_ttl", format!("{:?}", oauth.max_token_ttl)),
            ("oauth.clock_skew", format!("{:?}", oauth.clock_skew)),
            ("oauth.token_rate", format!("{:?}", oauth.token_rate)),
            ("oauth.token_paths", format!("{:?}", oauth.token_paths)),
            ("oauth.token_info_path", format!("{:?}", oauth.token_info_path)),
        ];
        Inventory {
            parts: [
                ("route", routes.collect()),
                ("role", roles.collect()),
                ("upstream", upstreams.collect()),
                ("setting", settings.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            ],
            fixed: vec![
                ("server.listen", format!("{:?}", server.listen)),
                ("server.tls.listen", format!("{:?}", server.tls.as_ref().map(|tls| &tls.listen))),
                ("server.threads", format!("{:?}", server.threads)),
                ("server.drain_timeout", format!("{:?}", server.drain_timeout)),
                ("server.shutdown_delay", format!("{:?}", server.shutdown_delay)),
                ("server.upgrade_timeout", format!("{:?}", server.upgrade_timeout)),
                ("admin.listen", config.admin.listen.to_string()),
                ("metrics.listen", config.metrics.listen.to_string()),
                ("store", format!("{:?}", config.store)),
                ("oauth.algorithm", format!("{:?}", oauth.algorithm)),
                ("oauth.signing_key_file", hash(oauth.signing_key.as_ref())),
                ("server.limits.connections", server.limits.connections.to_string()),
            ],
        }
    }

    /// From now on this is what runs.
    pub(super) fn take_on(&mut self, new: Inventory) {
        *self = new;
    }

    /// The keys that `new` changes and that only a restart can change.
    pub(super) fn fixed_changes(&self, new: &Inventory) -> Vec<&'static str> {
        let changed = self.fixed.iter().zip(&new.fixed).filter(|(old, new)| old != new);
        changed.map(|(old, _)| old.0).collect()
    }

    /// What `new` changes: counted, in words, and each by its name.
    pub(super) fn changes(&self, new: &Inventory) -> (String, Vec<String>) {
        let (mut words, mut names) = (Vec::new(), Vec::new());
        for ((what, old), (_, new)) in self.parts.iter().zip(&new.parts) {
            let added: Vec<_> = new.keys().filter(|name| !old.contains_key(*name)).collect();
            let removed: Vec<_> = old.keys().filter(|name| !new.contains_key(*name)).collect();
            let other =
                new.iter().filter(|(name, now)| old.get(*name).is_some_and(|was| was != *now));
            let changed: Vec<_> = other.map(|(name, _)| name).collect();
            let lists = [(added, "added"), (removed, "removed"), (changed, "changed")];
            for (list, verb) in lists.into_iter().filter(|(list, _)| !list.is_empty()) {
                words.push(format!("{} {verb}", count(list.len(), what)));
                names.extend(list.into_iter().map(|name| format!("{what} {name:?} {verb}")));
            }
        }
        if words.is_empty() {
            words.push("nothing changed but, perhaps, secrets".to_owned());
        }
        (words.join(", "), names)
    }
}

/// Tells one secret from another without showing it.
fn hash(secret: Option<&SecretText>) -> String {
    let mut hasher = DefaultHasher::new();
    secret.map(SecretText::expose).hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// The certificates, and what is asked of clients.
fn shown_and_asked(tls: &Tls) -> String {
    let chains: Vec<_> = tls.identities.iter().map(|identity| &identity.pair.cert).collect();
    let clients = tls.clients.as_ref();
    let clients = clients.map(|clients| (&clients.authorities.roots, clients.required));
    format!("{chains:?} {clients:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    const TEXT: &str = include_str!("../../config/portcullis.toml");

    #[test]
    fn changes_are_counted() {
        let of = |text: &str| Inventory::of(&parse(text, Path::new("")).unwrap());
        let old = of(TEXT);
        assert!(old.changes(&of(TEXT)).0.contains("nothing changed"));
        let new = TEXT
            .replace("name = \"status\"", "name = \"health\"")
            .replace("\"campaign.read\"]", "\"campaign.look\"]")
            .replace("token_ttl = \"12h\"", "token_ttl = \"6h\"")
            .replace("127.0.0.1:8081", "127.0.0.1:8091");
        let (words, names) = old.changes(&of(&new));
        assert_eq!(words, "1 route added, 1 route removed, 1 role changed, 1 setting changed");
        assert!(names.contains(&"route \"health\" added".to_owned()), "{names:?}");
        assert_eq!(old.fixed_changes(&of(&new)), ["admin.listen"]);
    }
}
