//! A server that is away for some time, before a batch begins or in the middle of it.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::fixture::prepare;
use crate::testkit::scratch_postgres;
use crate::{StepContext, StepError, Value};

/// Until it is mended.
const ALL: usize = usize::MAX;

/// A way to the server that can be cut.
#[derive(Clone)]
struct Way {
    url: String,
    /// How many connections are still refused. Whenever it is set, those that are open end.
    refused: watch::Sender<usize>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).unwrap();
        let server = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let way = Self { url: format!("{scheme}://{user}@{here}/{path}"), refused: watch::Sender::new(0) };
        tokio::spawn(way.clone().serve(listener, server));
        way
    }

    async fn serve(self, listener: TcpListener, server: (String, u16)) {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut cut = self.refused.subscribe();
            if self.refused.send_if_modified(|left| {
                let refused = *left > 0;
                *left = left.saturating_sub(1);
                refused
            }) {
                continue;
            }
            let mut onward = TcpStream::connect(server.clone()).await.unwrap();
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    _ = cut.changed() => {}
                    _ = copy_bidirectional(&mut client, &mut onward) => {}
                }
            });
        }
    }

    /// Ends the connections that are open, and refuses the next ones.
    fn cut(&self, refused: usize) {
        self.refused.send_replace(refused);
    }

    /// Waits until so many were refused of all.
    async fn has_refused(&self, count: usize) {
        let mut refused = self.refused.subscribe();
        let counted = refused.wait_for(|left| ALL - left >= count);
        tokio::time::timeout(SOON, counted).await.expect("the host goes on trying").unwrap();
    }
}

/// A server, a handle on it, and one over a way that can be cut.
async fn server() -> (Database, Way, Database) {
    let url = scratch_postgres().await;
    let direct = prepare(Database::open(&url).await.unwrap()).await;
    let way = Way::to(&url).await;
    let cut = Database::open(&way.url).await.unwrap().for_participants(&["payment"]);
    (direct, way, cut)
}

fn charges(sagas: impl IntoIterator<Item = u128>) -> impl Iterator<Item = Command> {
    sagas.into_iter().map(|saga| command(saga, Execute, r#"{"amount":1}"#))
}

fn done(count: usize) -> Option<Said> {
    Some(Said::Answered(vec!["done".to_owned(); count]))
}

#[tokio::test]
async fn commands_wait_for_a_database_that_is_away_and_none_is_answered() {
    let (direct, way, cut) = server().await;
    let mut running = Running::start(host(&cut));
    running.give(charges([1]));
    assert_eq!(running.said().await, done(1));
    for round in [10, 20] {
        way.cut(ALL);
        running.give(charges(round..round + 3));
        assert_eq!(running.said().await, Some(Said::Away));
        way.has_refused(5).await;
        assert!(running.said.is_empty());
        way.cut(0);
        assert_eq!(running.said().await, Some(Said::Back));
        assert_eq!(running.said().await, done(3));
    }
    assert_eq!(ledger(&direct).await.len(), 7);
}

#[tokio::test]
async fn a_connection_that_is_lost_or_refused_once_is_not_told() {
    let (_, way, cut) = server().await;
    let mut running = Running::start(host(&cut));
    for saga in [0, 1] {
        running.give(charges([saga]));
        assert_eq!(running.said().await, done(1));
        way.cut(saga.try_into().unwrap());
        running.give(charges([saga + 10]));
        assert_eq!(running.said().await, done(1));
    }
}

/// Writes a line, but cuts the connection under a negative one.
struct Cut {
    way: Way,
    refused: usize,
    times: AtomicU32,
    runs: Arc<AtomicU32>,
}

impl Step for Cut {
    type Input = i64;
    type Output = ();
    const COMMAND: &'static str = "payment.charge";

    async fn execute(&self, cx: &mut StepContext<'_>, amount: i64) -> Result<(), StepError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let fewer = |times: u32| times.checked_sub(1);
        if amount < 0 && self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            self.way.cut(self.refused);
        }
        cx.execute("INSERT INTO charge (amount) VALUES ($1)", &[Value::Int(amount)]).await.map(drop)
    }

    async fn compensate(&self, _: &mut StepContext<'_>, _: i64, (): ()) -> Result<(), StepError> {
        Ok(())
    }
}

/// Gives commands together to a host that cuts the connection under those of a negative amount, so many times at most.
/// Also returns the count of all runs of its step.
async fn give_to_cut(amounts: &[i64], refused: usize, times: u32) -> (Running, Database, Arc<AtomicU32>) {
    let (direct, way, cut) = server().await;
    let runs = Arc::<AtomicU32>::default();
    let step = Cut { way, refused, times: times.into(), runs: Arc::clone(&runs) };
    let running = Running::start(Host::builder(cut).step(step).build());
    running.give((1..).zip(amounts).map(|(saga, amount)| command(saga, Execute, &amount.to_string())));
    (running, direct, runs)
}

/// Gives three commands together to a host whose second one cuts the connection.
async fn cut_by_the_second(refused: usize, times: u32) -> (Running, Database) {
    let (running, direct, _) = give_to_cut(&[1, -2, 3], refused, times).await;
    (running, direct)
}

#[tokio::test]
async fn a_batch_that_loses_its_connection_is_run_again() {
    let (mut running, direct) = cut_by_the_second(0, 3).await;
    assert_eq!(running.said().await, done(3));
    assert_eq!((ledger(&direct).await, barrier_rows(&direct).await), (vec![1, -2, 3], 3));
}

#[tokio::test]
async fn a_batch_that_loses_its_database_waits_for_it() {
    let (mut running, direct) = cut_by_the_second(3, 1).await;
    for expected in [Some(Said::Away), Some(Said::Back), done(3)] {
        assert_eq!(running.said().await, expected);
    }
    assert_eq!((ledger(&direct).await, barrier_rows(&direct).await), (vec![1, -2, 3], 3));
}

#[tokio::test]
async fn a_command_that_always_breaks_its_transaction_takes_no_other_with_it() {
    let (mut running, direct) = cut_by_the_second(0, u32::MAX).await;
    let answered = ["done", "try-again", "done"].map(str::to_owned).to_vec();
    assert_eq!(running.said().await, Some(Said::Answered(answered)));
    assert_eq!((ledger(&direct).await, barrier_rows(&direct).await), (vec![1, 3], 2));
}

#[tokio::test]
async fn a_batch_of_which_nothing_can_be_committed_is_soon_given_up() {
    let (mut running, direct, runs) = give_to_cut(&[-1; 10], 0, u32::MAX).await;
    assert_eq!(running.said().await, Some(Said::Answered(vec!["try-again".to_owned(); 10])));
    assert_eq!(barrier_rows(&direct).await, 0);
    // The first one with the batch, three by themselves, and the fourth with the rest.
    assert_eq!(runs.load(Ordering::Relaxed), 4 + 3 * 2 + 2);
}

#[tokio::test]
async fn commands_that_break_their_transactions_in_a_row_take_no_other_with_them() {
    let amounts = [1, -2, -3, -4, 5, 6];
    let (mut running, direct, _) = give_to_cut(&amounts, 0, u32::MAX).await;
    let answered = amounts.map(|amount| if amount < 0 { "try-again" } else { "done" }.to_owned());
    assert_eq!(running.said().await, Some(Said::Answered(answered.to_vec())));
    assert_eq!((ledger(&direct).await, barrier_rows(&direct).await), (vec![1, 5, 6], 3));
}

#[tokio::test]
async fn commands_that_break_their_transactions_here_and_there_take_no_other_with_them() {
    let amounts = [-1, -2, 3, -4, -5, 6, -7, 8, -9, -10, 11];
    let (mut running, direct, _) = give_to_cut(&amounts, 0, u32::MAX).await;
    let answered = amounts.map(|amount| if amount < 0 { "try-again" } else { "done" }.to_owned());
    assert_eq!(running.said().await, Some(Said::Answered(answered.to_vec())));
    assert_eq!((ledger(&direct).await, barrier_rows(&direct).await), (vec![3, 6, 8, 11], 4));
}
