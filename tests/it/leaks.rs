//! A thousand streams, ended in every way there is: nothing of them is left.
//! `cargo bench --bench streams` does it with ten thousand, and looks at memory
//! and file descriptors too.

use serde_json::json;

use crate::held::{Front, Held, World, path};

const BATCHES: usize = 20;

/// Who ends it.
const WAYS: [(&str, &str); 4] =
    [("events", "client"), ("events", "cut"), ("whole", "upstream"), ("broken", "failure")];

/// Opens streams by every way in, ends them in every way, and returns how many.
pub(crate) async fn open_and_end(world: &World, batch: usize, each: usize) -> usize {
    let victim = world.h.mint(&["reader"]).await;
    let (kept, dies) = (world.h.trade(&victim).await, world.h.trade(&victim).await);
    let mut cut = Vec::new();
    let mut count = 0;
    for (kind, way) in WAYS {
        for front in [Front::Plain, Front::Tls, Front::Http2] {
            for nth in 0..each {
                let token = if way == "cut" { &dies } else { &kept };
                let path = path(kind, front, &format!("{batch}-{way}-{nth}"));
                let held = world.begin(kind, front, &path, token).await;
                count += 1;
                match way {
                    "cut" => cut.push((path, held)),
                    "client" => drop(held),
                    _ => to_the_end(held).await,
                }
            }
        }
    }
    let (status, receipt) =
        world.h.admin("POST", "/v1/revocations", json!({ "token": dies })).await;
    assert_eq!((status, &receipt["streams_closed"]), (200, &json!(cut.len())), "{receipt}");
    for (path, held) in cut {
        crate::held::ends(&path, held, "revoked").await;
    }
    world.upstream.wait_open("", 0).await;
    count
}

async fn to_the_end(held: Held) {
    match held {
        Held::Stream(mut body, _) => while body.data().await.is_some_and(|data| data.is_ok()) {},
        Held::Raw(mut wire) => {
            let mut buffer = [0; 4096];
            while tokio::io::AsyncReadExt::read(&mut wire, &mut buffer)
                .await
                .is_ok_and(|read| read > 0)
            {
                if buffer.windows(5).any(|window| window == b"0\r\n\r\n") {
                    return;
                }
            }
        }
        _ => unreachable!("neither whole nor broken"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_thousand_streams() {
    let world = World::start().await;
    let mut count = 0;
    for batch in 0..BATCHES {
        count += open_and_end(&world, batch, 5).await;
    }
    assert!(count >= 1000);
    world.h2.driver.abort();
    let gone = async {
        loop {
            let metrics = world.h.metrics().await;
            let zero = |name: &str| metrics.contains(&format!("portcullis_{name} 0\n"));
            if zero("open_streams") && zero("open_connections") {
                return metrics;
            }
        }
    };
    let metrics =
        tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.expect("all to end");
    let cut = format!("portcullis_streams_cut_total{{reason=\"revoked\"}} {}\n", count / 4);
    assert!(metrics.contains(&cut), "{metrics}");
    crate::wait::until("each is told of", async || {
        let lines = world.h.log.lines();
        let ours =
            |line: &&serde_json::Value| line["path"].as_str().unwrap().starts_with("/s/acme/");
        let told = lines.iter().filter(ours).count();
        assert!(told <= count, "each is told of once");
        told == count
    })
    .await;
}
