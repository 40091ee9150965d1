//! Peers and their pools, names and their addresses, checks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::upstreams::peer::Peer;

use super::*;

/// Says what it is told to say, and counts how often it was asked.
#[derive(Debug, Default)]
struct Oracle(Mutex<(Vec<SocketAddr>, usize)>);

impl Oracle {
    fn says(&self, ports: &[u16]) {
        self.0.lock().0 = sockets(ports);
    }

    fn asked(&self) -> usize {
        self.0.lock().1
    }
}

#[async_trait]
impl Resolver for Oracle {
    async fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        let mut known = self.0.lock();
        known.1 += 1;
        match (address, known.0.is_empty()) {
            ("gone.internal:1", _) => Ok(Vec::new()),
            (_, true) => Err(io::Error::other("nobody knows")),
            _ => Ok(known.0.clone()),
        }
    }
}

fn sockets(ports: &[u16]) -> Vec<SocketAddr> {
    ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 9], *port))).collect()
}

fn named(text: &str, ports: &[u16]) -> NamedAddress {
    NamedAddress { text: text.to_owned(), found: sockets(ports) }
}

fn settings(name: &str, addresses: Vec<NamedAddress>) -> UpstreamSettings {
    UpstreamSettings {
        name: UpstreamName::new(name).unwrap(),
        addresses,
        protocol: UpstreamProtocol::Http1,
        trust: None,
        authorization: AuthorizationPolicy::Strip,
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        health: HealthRule::default(),
        ejection: EjectionRule {
            after: 1,
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(10),
        },
        resolver: Arc::new(SystemResolver),
    }
}

fn ports(upstream: &Upstream) -> Vec<u16> {
    let mut ports: Vec<u16> = upstream.ring.all().iter().map(|a| a.socket.port()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn connections_are_shared_within_one_way_of_reaching_one_upstream() {
    let certificate = || {
        let made = rcgen::generate_simple_self_signed(["up.example".to_owned()]).unwrap();
        vec![made.cert.der().to_vec()]
    };
    let (a, b) = (certificate(), certificate());
    let trust = |ca: Option<&[Vec<u8>]>| Trust::new("up.example".into(), ca, None);
    let with = |name: &str, trust: Option<Trust>, protocol| {
        let settings = settings(name, vec![named("h:1", &[1])]);
        Upstream::new(UpstreamSettings { trust, protocol, ..settings })
    };
    let http1 = UpstreamProtocol::Http1;
    let all = [
        with("u", None, http1),
        with("v", None, http1),
        with("u", None, UpstreamProtocol::Http2),
        with("u", trust(None), http1),
        with("u", trust(None), UpstreamProtocol::Http2),
        with("u", trust(Some(&a)), http1),
        with("u", trust(Some(&b)), http1),
    ];
    let hash = |upstream: &Upstream, fresh: bool| {
        let peer = upstream.peer(&upstream.next(&[]).unwrap(), fresh);
        assert_eq!(peer.tls(), !peer.sni().is_empty(), "TLS without a name verifies nothing");
        assert!(peer.verify_cert() && peer.verify_hostname());
        peer.reuse_hash()
    };
    let hashes: Vec<u64> = all.iter().map(|upstream| hash(upstream, false)).collect();
    for (place, one) in hashes.iter().enumerate() {
        assert!(!hashes[..place].contains(one), "{place}");
    }
    // AHasher is keyed anew for every process, not for every peer.
    assert_eq!(hash(&all[0], false), hashes[0], "pooled");
    let again = with("u", trust(Some(&a)), http1);
    assert_eq!(hash(&again, false), hashes[5], "also over a reload that changes nothing");
    let fresh: Vec<u64> = (0..100).map(|_| hash(&all[0], true)).collect();
    for (place, one) in fresh.iter().enumerate() {
        assert!(!fresh[..place].contains(one) && !hashes.contains(one), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_again_and_again() {
    let oracle = Arc::new(Oracle::default());
    let names = vec![named("api.internal:1", &[1]), named("127.0.0.9:7", &[7])];
    let resolver = Arc::clone(&oracle) as Arc<dyn Resolver>;
    let upstream = Arc::new(Upstream::new(UpstreamSettings { resolver, ..settings("u", names) }));
    assert_eq!(ports(&upstream), [1, 7]);
    let tending = Arc::clone(&upstream);
    let task = tokio::spawn(async move { tending.resolve_again_and_again().await });

    oracle.says(&[2, 3]);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!((ports(&upstream), oracle.asked()), (vec![1, 7], 0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((ports(&upstream), oracle.asked()), (vec![2, 3, 7], 1));
    for _ in 0..30 {
        assert_ne!(upstream.next(&[]).unwrap().socket.port(), 1, "what is gone gets no requests");
    }

    // Nobody knows: what was known stays.
    oracle.says(&[]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ports(&upstream), [2, 3, 7]);
    assert!(oracle.asked() >= 2);

    // Somebody can't connect: at once, but not again and again.
    oracle.says(&[4]);
    let before = oracle.asked();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..100 {
        upstream.unreachable(&upstream.next(&[]).unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ports(&upstream), [4, 7]);
    assert!((2..=4).contains(&(oracle.asked() - before)), "{}", oracle.asked() - before);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_name_without_addresses_keeps_what_it_had_and_plain_addresses_are_not_asked_for() {
    let oracle = Arc::new(Oracle::default());
    oracle.says(&[5]);
    let mut names =
        vec![named("gone.internal:1", &[1]), named("[::1]:2", &[2]), named("there:3", &[3])];
    resolve::refresh(&mut names, oracle.as_ref(), "u").await;
    assert_eq!(resolve::all(&names), sockets(&[1, 2, 5]));
    assert_eq!(oracle.asked(), 2);
    let plain = Upstream::new(settings("u", vec![named("127.0.0.9:2", &[2])]));
    plain.resolve_again_and_again().await;
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_unless_addresses_are_reached_otherwise() {
    let two = || vec![named("127.0.0.9:1", &[1]), named("127.0.0.9:2", &[2])];
    let old = Upstream::new(settings("u", two()));
    let first = old.ring.all()[0].clone();
    old.failed(&first);
    let up = |upstream: &Upstream| upstream.health().iter().filter(|(_, up)| *up).count();
    assert_eq!(up(&old), 1);
    let same = Upstream::new(settings("u", two()));
    same.take_over(&old);
    assert_eq!(up(&same), 1);
    let protocol = UpstreamProtocol::Http2;
    let other = Upstream::new(UpstreamSettings { protocol, ..settings("u", two()) });
    other.take_over(&old);
    assert_eq!(up(&other), 2);
}

#[tokio::test]
async fn checks_find_out_who_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    // Bound, so that nobody else gets it, and never listened on: it refuses.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let there = nobody.local_addr().unwrap();
    let names = [here, there].map(|a| NamedAddress { text: a.to_string(), found: vec![a] });
    let upstream = Upstream::new(settings("u", names.to_vec()));
    upstream.check().await;
    let mut health = upstream.health();
    health.sort();
    let mut expected = vec![(here.to_string(), true), (there.to_string(), false)];
    expected.sort();
    assert_eq!(health, expected);
    for _ in 0..4 {
        assert_eq!(upstream.next(&[]).unwrap().socket, here);
    }
}

/// Names that come and go with reloads are not kept for ever.
#[test]
fn what_is_not_named_any_more_stays_for_one_reload() {
    let all = |names: &[&str]| -> Upstreams {
        let one = |name: &&str| Upstream::new(settings(name, vec![named("127.0.0.1:1", &[1])]));
        let upstreams = names.iter().map(one);
        upstreams.map(|upstream| (upstream.name.clone(), Arc::new(upstream))).collect()
    };
    let mut now = all(&["stays", "goes0"]);
    for (round, next) in ["goes1", "goes2", "goes3"].into_iter().enumerate() {
        let mut new = all(&["stays", next]);
        take_over_all(&mut new, &now);
        now = new;
        let before = UpstreamName::new(&format!("goes{round}")).unwrap();
        assert!(now.get(&before).is_some_and(|upstream| upstream.is_retired()), "{round}");
        assert_eq!(now.len(), 3, "{round}");
    }
}
