//! The page of a hub in a real browser.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use handover_hub::dashboard::Dashboard;
use handover_hub::engine::memory::Authority;
use handover_hub::process::{Context, Process, Stop};
use handover_hub::proto::migration;
use handover_hub::proto::node::StartOptions;
use handover_hub::proto::placement::homes;
use handover_hub::transport::local::Network;
use handover_hub::{Builder, ChildSpec, Hub, Scope};
use handover_tests::patience::LONG;
use handover_tests::{Browser, eventually};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::watch;

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Process for Nothing {
    type Argument = ();
    /// Whether to wait until the gate is open.
    type Request = bool;
    type Reply = ();

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self)
    }

    async fn handle(&mut self, waits: bool, _: &mut Context) {
        if waits {
            BUSY.store(true, Ordering::Release);
            // The sender lives as long as the program.
            let _ = GATE.subscribe().wait_for(|open| *open).await;
        }
    }
}

/// Of the only test that has processes which wait: one is at its message.
static BUSY: AtomicBool = AtomicBool::new(false);
static GATE: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Nodes in this program; the first of them serves the page.
struct World {
    runtime: Runtime,
    authority: Authority,
    network: Network,
    nodes: Vec<Hub>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            runtime: Runtime::new().unwrap(),
            authority: Authority::default(),
            network: Network::default(),
            nodes: Vec::new(),
        };
        let page = Dashboard::at(SocketAddr::from(([127, 0, 0, 1], 0)));
        let first = world.builder("a").dashboard(page);
        world.start(first);
        for name in ["b", "c"] {
            let node = world.builder(name);
            world.start(node);
        }
        world
    }

    fn builder(&self, node: &str) -> Builder {
        Hub::builder("sessions")
            .node(node)
            .listen(node)
            .network(&self.network)
            .engine(self.authority.engine())
            .kind::<Nothing>("nothing")
            .migration(migration::Settings {
                timeout: 4 * LONG,
                ..migration::Settings::default()
            })
    }

    fn start(&mut self, node: Builder) {
        let hub = self.runtime.block_on(node.start()).unwrap();
        self.nodes.push(hub);
    }

    fn children(&self, prefix: &str, count: u32) {
        let children = (0..count).map(|n| ChildSpec::new("nothing", &format!("{prefix}{n}")));
        let started = self.nodes[0].start_children(children, StartOptions::default());
        let started = self.runtime.block_on(started).unwrap();
        assert_eq!(started.failed, []);
    }

    /// Every node knows that every shard has the home which placement names: nothing moves by itself.
    fn is_placed(&self) -> bool {
        self.nodes.iter().all(|node| {
            let (members, owners) = (node.nodes(), node.homes());
            let wanted = homes(&members, node.status().shards);
            members.len() == self.nodes.len()
                && owners.len() == wanted.len()
                && owners
                    .iter()
                    .all(|(shard, owner)| owner.node == wanted[usize::from(shard.0)])
        })
    }

    fn page(&self) -> String {
        format!("http://{}/", self.nodes[0].dashboard().unwrap())
    }
}

/// Waits until an element says something.
fn shows(browser: &mut Browser, id: &str, wanted: &str) {
    let mut seen = String::new();
    eventually(&format!("{id} shows {wanted}"), || {
        let text = browser.text(id);
        if text != seen {
            println!("{id}: {text}");
            seen.clone_from(&text);
        }
        text.contains(wanted).then_some(())
    });
}

fn rows(browser: &mut Browser) -> Vec<String> {
    let names = "[...document.querySelectorAll('#nodes tr')].map((row) => row.dataset.node)";
    serde_json::from_value(browser.evaluate(names)).unwrap()
}

#[test]
fn the_page_follows_the_hub_without_being_loaded_again() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let mut world = World::new();
    world.children("user-", 120);
    browser.open(&world.page());
    // Gone if the page is loaded again.
    browser.evaluate("window.untouched = true");
    shows(&mut browser, "count-nodes", "3");
    shows(&mut browser, "count-processes", "120");
    shows(&mut browser, "connection-text", "live");
    shows(&mut browser, "hub", "sessions");
    assert_eq!(rows(&mut browser), ["a", "b", "c"]);

    let fourth = world.builder("d");
    world.start(fourth);
    shows(&mut browser, "count-nodes", "4");
    shows(&mut browser, "events", "node d joined");
    assert_eq!(rows(&mut browser), ["a", "b", "c", "d"]);
    let hosted = "Number(document.querySelector('[data-node=\"d\"]').cells[2].textContent)";
    eventually("d runs something", || {
        (browser.evaluate(hosted).as_f64()? > 0.0).then_some(())
    });
    world.children("guest-", 7);
    shows(&mut browser, "count-processes", "127");

    browser.evaluate(
        "const box = document.getElementById('search'); box.value = 'guest-'; \
         box.dispatchEvent(new Event('input'))",
    );
    shows(&mut browser, "found", "7 found");
    shows(&mut browser, "processes", "guest-6");
    assert_eq!(browser.evaluate("window.untouched"), true);

    // The node is gone: what is shown is said to be old.
    assert_eq!(browser.text("lost"), "");
    world.nodes.remove(0);
    shows(&mut browser, "connection-text", "connection lost");
    shows(&mut browser, "lost", "Node a does not answer");
    assert_eq!(browser.text("count-nodes"), "4");
}

/// The page is node a's; the move is from b to c, by the order of b.
#[test]
fn the_page_shows_a_move_that_its_node_has_no_part_in() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::new();
    eventually("every shard has its home", || {
        world.is_placed().then_some(())
    });
    world.children("user-", 120);
    browser.open(&world.page());
    shows(&mut browser, "count-flights", "0");
    let [_, b, c] = &world.nodes[..] else {
        panic!("three nodes")
    };
    let rows = b.list(Scope::Node);
    let id = rows.first().expect("every node runs some").id().to_string();
    let busy = world.runtime.spawn({
        let (caller, id) = (c.clone(), id.clone());
        async move { caller.call_within::<Nothing>(&id, true, 4 * LONG).await }
    });
    eventually("it is busy", || BUSY.load(Ordering::Acquire).then_some(()));
    let moved = world.runtime.spawn({
        let (node, id) = (b.clone(), id.clone());
        async move { node.move_child(&id, "c").await }
    });
    shows(&mut browser, "count-flights", "1");
    shows(&mut browser, "moves", &id);
    shows(&mut browser, "moves", "b → c");
    shows(&mut browser, "moves", "ordered by b");
    assert_eq!(browser.text("moves-unknown"), "");
    GATE.send_replace(true);
    world.runtime.block_on(busy).unwrap().unwrap();
    world.runtime.block_on(moved).unwrap().unwrap();
    shows(&mut browser, "count-flights", "0");
    shows(&mut browser, "no-moves", "none");

    // It says nothing more that is heard: what it orders is not known, and that is said.
    let a = &world.nodes[0];
    world.network.mute(b.node(), a.node());
    shows(
        &mut browser,
        "moves-unknown",
        "moves ordered by b: no answer",
    );
}

#[test]
fn the_page_fits_a_phone_and_both_colours() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::new();
    world.children("user-", 30);
    browser.resize(360, 740);
    browser.open(&world.page());
    shows(&mut browser, "count-processes", "30");
    let fits = "document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(browser.evaluate(fits), true, "wider than the screen");
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("light");
    let light = browser.evaluate(ground);
    browser.prefer("dark");
    let dark = browser.evaluate(ground);
    assert_ne!(light, dark);
}

#[test]
fn the_page_asks_nobody_but_its_node() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::new();
    let page = world.page();
    browser.open(&page);
    shows(&mut browser, "count-nodes", "3");
    let asked = "performance.getEntriesByType('resource').map((entry) => entry.name)";
    // Its style, its script, and the processes; the stream of events is listed when it ends.
    let asked = eventually("what the page asked for", || {
        let asked = browser.evaluate(asked);
        let asked: Vec<String> = serde_json::from_value(asked).unwrap();
        (asked.len() >= 3).then_some(asked)
    });
    for url in asked {
        assert!(url.starts_with(&page), "{url} is not {page}");
    }
}
