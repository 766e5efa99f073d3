//! The whole front door: HTTP/2 frames over a pipe, the counter, the services, every use case, and stores in files of
//! their own for each run. Cryptography that costs is played: callers carry the peer of one true handshake made at the
//! start, and the custodian keeps shares in memory.
//!
//! What must hold: no panic and no internal error, whoever calls what in whichever order; every refusal is counted once,
//! or stands in the ledger; a login leaves only to its worker, only what was deposited, only under an entry that says
//! so, and never after its consent was withdrawn or somebody pressed stop.

mod calls;
mod custody;
mod known;
mod people;
mod pipe;
mod world;

use std::sync::LazyLock;

use cofre_edge::gate;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::input::Input;
use calls::Answer;
use known::Known;
use people::People;
use pipe::Doors;
use world::{Template, World};

static HOUSE: LazyLock<House> = LazyLock::new(House::build);

/// What lives as long as the process.
struct House {
    runtime: Runtime,
    people: People,
    template: Template,
}

impl House {
    fn build() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (people, template) = runtime.block_on(async {
            let people = People::introduce().await;
            let template = Template::furnish(&people).await;
            (people, template)
        });
        let house = Self { runtime, people, template };
        house.runtime.block_on(house.releases());
        house
    }

    /// What is furnished releases: were it not so, all that lies behind a grant would be attacked in vain.
    async fn releases(&self) {
        let (world, stop) = (World::copy_of(&self.template).await, CancellationToken::new());
        let doors = Doors::open(&world, &self.people, stop.clone());
        let (mut known, method) = (self.template.known.clone(), "/cofre.v1.ReleaseService/Release");
        let message = known.message(method, &world, &mut Input::new(&[]));
        let (frame, path) = calls::framed(&mut Input::new(&[]), &message, method);
        let who = self.people.one_for(method, 0);
        match doors.call(who, &path, frame).await {
            Answer::Message(bytes) => known.learn(method, &message, &bytes, &world, who).await,
            Answer::Refused { code, .. } => panic!("the furnished login is not released: {code:?}"),
            Answer::Broken(problem) => panic!("the furnished login is not released: {problem}"),
        }
        drop(stop.drop_guard());
        doors.close().await;
        drop(world.close().await);
    }
}

/// Calls in a row by anybody; or raw bytes by one caller.
pub fn run(data: &[u8]) {
    let house = &*HOUSE;
    house.runtime.block_on(async {
        let world = World::copy_of(&house.template).await;
        let stop = CancellationToken::new();
        let doors = Doors::open(&world, &house.people, stop.clone());
        let mut input = Input::new(data);
        if input.byte() % 8 == 7 {
            let who = house.people.pick(&mut input);
            doors.raw(who, input.flag(), input.rest()).await;
        } else {
            Day { house, world: &world, doors: &doors, known: house.template.known.clone() }.pass(&mut input).await;
        }
        drop(stop.drop_guard());
        doors.close().await;
        world.close().await;
    });
}

/// What happens in one run.
struct Day<'a> {
    house: &'a House,
    world: &'a World,
    doors: &'a Doors,
    known: Known,
}

/// Most calls of one run.
const CALLS: usize = 24;

impl Day<'_> {
    async fn pass(&mut self, input: &mut Input<'_>) {
        for _ in 0..CALLS {
            if input.is_empty() {
                return;
            }
            match input.byte() {
                255 => self.world.advance(u64::from(input.byte()) * 60),
                254 => self.world.advance(u64::from(input.byte())),
                choice => self.call(choice, input).await,
            }
        }
    }

    /// One call. The choice names the method; who calls is mostly somebody who may.
    async fn call(&mut self, choice: u8, input: &mut Input<'_>) {
        let methods: Vec<&str> = gate::methods().collect();
        let method = methods[usize::from(choice) % methods.len()];
        let who = match input.byte() % 16 {
            15 => self.house.people.pick(input),
            place => self.house.people.one_for(method, usize::from(place)),
        };
        let good = self.known.message(method, self.world, input);
        let message = input.bend(&good);
        let (frame, path) = calls::framed(input, &message, method);
        let refusals = self.world.refusals();
        let answer = self.doors.call(who, &path, frame).await;
        if known::is_stream(method) {
            return;
        }
        match answer {
            Answer::Message(bytes) => {
                assert_eq!(self.world.refusals(), refusals, "{method}: an answer was counted as a refusal");
                assert!(gate::permits(who.door(), &path, who.role()), "{path}: answered to {who:?}");
                self.known.learn(method, &message, &bytes, self.world, who).await;
            }
            Answer::Refused { code, entry } => self.counted(&path, code, entry, refusals).await,
            Answer::Broken(problem) => panic!("{path}: no answer at all: {problem}"),
        }
    }

    /// A refusal is counted once, or stands in the ledger where its status says.
    async fn counted(&self, path: &str, code: tonic::Code, entry: Option<u64>, before: usize) {
        assert!(!matches!(code, tonic::Code::Internal | tonic::Code::Unknown | tonic::Code::Ok), "{path}: {code:?}");
        let counted = self.world.refusals() - before;
        match entry {
            None => assert_eq!(counted, 1, "{path}: {code:?} was counted {counted} times"),
            Some(index) => {
                assert_eq!(counted, 0, "{path}: a refusal in the ledger was counted again");
                assert!(self.world.entry(index).await.is_some(), "{path}: no entry {index}");
            }
        }
    }
}

/// A release, a life of a consent, stop buttons, a deposit, a challenge, everything once, and raw frames.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let place = |name: &str| {
        let at = gate::methods().position(|method| method.ends_with(name)).expect("a listed method");
        u8::try_from(at).expect("few methods")
    };
    let days: [(&str, &[&str]); 8] = [
        ("release", &["/Release", "/Release", "/ReportOutcome", "/Release"]),
        ("revoked", &["/Release", "/Revoke", "/Release", "/Notice", "/Grant", "/Release", "/Receipt"]),
        ("locked", &["/Lockdown", "/Release", "/Status"]),
        ("quarantined", &["/QuarantineWorker", "/Release"]),
        ("deposit", &["/DepositKey", "/OpenEnrolment", "/Deposit", "/CredentialState", "/CancelEnrolment"]),
        ("challenge", &["/Release", "RelayService/Open", "/Answer", "/AwaitAnswer", "/Conclude", "/Cancel"]),
        ("erased", &["/Erase", "/Certificate", "/Release"]),
        ("read", &["/Checkpoint", "/Tile", "/Prove", "/Entry", "/Search", "/Export", "Health/Check"]),
    ];
    let mut seeds = Vec::new();
    for (name, methods) in days {
        let mut day = vec![0];
        for method in methods {
            day.extend([place(method), 0, 0, 0, 0, 0]);
        }
        seeds.push((format!("day-{name}"), day));
    }
    let mut all = vec![0];
    for method in 0..35 {
        all.extend([method, 15, method, 0, 1, 1, 5, 3, 0, 0]);
    }
    seeds.push(("day-anybody".to_owned(), all));
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    seeds.push(("raw-settings".to_owned(), [&[7, 0, 1], &settings[..]].concat()));
    let headers = b"\0\0\x05\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    seeds.push(("raw-headers".to_owned(), [&[7, 3, 1], &settings[..], headers].concat()));
    seeds.push(("raw-no-preface".to_owned(), [&[7, 0, 0], &b"GET / HTTP/1.1\r\n\r\n"[..]].concat()));
    seeds
}
