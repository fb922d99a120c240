//! Does one thing to several sagas: those that are named, or those that a filter chooses.

use amends_proto::amends::v1::{CancelSagaResponse, Saga};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::args::{Global, OutputFormat, WriteArgs};
use crate::client::{Client, Doing};
use crate::confirm;
use crate::error::CliError;
use crate::filter::{Filter, shell_word};
use crate::follow;
use crate::output::{View, json, results, terminal};

/// Calls under way at the same time: enough to hide the round trip, few enough to leave an engine its work.
const CONCURRENCY: usize = 16;

/// Sagas asked for at a time while a filter is resolved: the most that the engine gives.
const PAGE_SIZE: i32 = 1000;

/// Which sagas are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    /// The sagas: ids, ends of ids, or TYPE/KEY
    #[arg(value_name = "ID", required_unless_present = "filter", conflicts_with = "filter")]
    ids: Vec<String>,
    /// Every unfinished saga for which this holds, e.g. status=parked,type=order,error=GATEWAY
    #[arg(id = "filter", long = "where", value_name = "FILTER", value_parser = Filter::parse)]
    filter: Option<Filter>,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act {
    /// The command's name, e.g. `cancel`.
    pub(crate) verb: &'static str,
    /// E.g. `cancelled`.
    pub(crate) done: &'static str,
    /// It cannot be taken back, so a person is asked first.
    pub(crate) destructive: bool,
}

impl Act {
    /// The words for when it fails on one saga.
    pub(crate) fn doing(&self, id: &str) -> Doing {
        Doing::write(self.verb, format!("{} saga {id}", self.verb)).look(format!("amends show {}", shell_word(id)))
    }
}

/// An answer that carries the saga as it is afterwards.
pub(crate) trait Answer: serde::Serialize {
    /// The saga.
    fn saga(&self) -> Option<&Saga>;
}

impl Answer for Saga {
    fn saga(&self) -> Option<&Saga> {
        Some(self)
    }
}

impl Answer for CancelSagaResponse {
    fn saga(&self) -> Option<&Saga> {
        self.saga.as_ref()
    }
}

/// Resolves the selection, asks, does it to each, and prints a line for each.
pub(crate) async fn run<T: Answer>(
    global: &Global,
    client: &Client,
    act: Act,
    selection: &Selection,
    write: &WriteArgs,
    call: impl AsyncFn(String) -> Result<T, CliError>,
) -> Result<(), CliError> {
    let ids = ids(client, act.verb, selection).await?;
    if ids.is_empty() {
        terminal::note("no saga is meant by this filter; nothing was done");
        return print::<T>(global, act, &[]);
    }
    if write.dry_run {
        return preview(global, client, act, &ids).await;
    }
    let question = match ids.as_slice() {
        [id] => format!("{} saga {id}?", capital(act.verb)),
        many => format!("{} {} sagas?", capital(act.verb), many.len()),
    };
    if selection.filter.is_some() {
        confirm::ask_for_many(write, &question).await?;
    } else if act.destructive {
        confirm::ask(write, &question).await?;
    }
    let call = &call;
    let results: Vec<(String, Result<T, CliError>)> =
        futures::stream::iter(ids).map(async |id| (id.clone(), call(id).await)).buffered(CONCURRENCY).collect().await;
    print(global, act, &results)?;
    failure(act, results)
}

/// The ids that are meant. Those of a filter are whole ids.
pub(crate) async fn ids(client: &Client, verb: &'static str, selection: &Selection) -> Result<Vec<String>, CliError> {
    let Some(filter) = &selection.filter else { return Ok(selection.ids.clone()) };
    let doing = Doing::read(verb, "find the sagas that --where means");
    let mut request = filter.request(false, PAGE_SIZE);
    let mut ids = Vec::new();
    loop {
        let page = client.call(&doing, client.sagas().list_sagas(client.request(request.clone()))).await?;
        ids.extend(page.sagas.into_iter().map(|saga| saga.id));
        if page.next_page_token.is_empty() {
            return Ok(ids);
        }
        request.page_token = page.next_page_token;
    }
}

/// Prints the sagas as they are, and does nothing.
async fn preview(global: &Global, client: &Client, act: Act, ids: &[String]) -> Result<(), CliError> {
    let sagas: Vec<(String, Result<Saga, CliError>)> = futures::stream::iter(ids)
        .map(async |id| follow::get(client, id, act.verb).await.map(|saga| (id.clone(), Ok(saga))))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    print(global, act, &sagas)?;
    terminal::note(&format!("would {} {}; nothing was done", act.verb, count(sagas.len())));
    Ok(())
}

fn print<T: Answer>(global: &Global, act: Act, results: &[(String, Result<T, CliError>)]) -> Result<(), CliError> {
    let answers = || results.iter().filter_map(|(_, result)| result.as_ref().ok());
    match global.output {
        OutputFormat::Json => terminal::out(&json::array(answers())?),
        OutputFormat::Jsonl => terminal::out(&json::lines(answers())?),
        OutputFormat::Id => {
            terminal::out(&answers().filter_map(Answer::saga).map(|saga| format!("{}\n", saga.id)).collect::<String>())
        }
        // A failure that is alone is told by the error report.
        _ if matches!(results, [] | [(_, Err(_))]) => Ok(()),
        _ => {
            let rows = results.iter().map(|(id, result)| match result {
                Ok(answer) => results::Row { id, outcome: Ok(answer.saga()) },
                Err(error) => results::Row { id, outcome: Err(error) },
            });
            terminal::out(&results::render(&View::of(global), rows))?;
            let done = results.iter().filter(|(_, result)| result.is_ok()).count();
            if results.len() > 1 {
                terminal::note(&format!("{} of {} {}", done, count(results.len()), act.done));
            }
            Ok(())
        }
    }
}

/// The failure of one, or of some among many.
fn failure<T>(act: Act, results: Vec<(String, Result<T, CliError>)>) -> Result<(), CliError> {
    let total = results.len();
    let mut failures: Vec<CliError> = results.into_iter().filter_map(|(_, result)| result.err()).collect();
    if failures.is_empty() {
        return Ok(());
    }
    let failed = failures.len();
    let first = failures.swap_remove(0);
    if total == 1 {
        return Err(first);
    }
    let (what, why, next) = first.parts();
    let why = why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"));
    Err(CliError::new(first.exit(), format!("{failed} of {} were not {}", count(total), act.done))
        .why(format!("the first: {why}"))
        .next(next.unwrap_or("amends list")))
}

fn count(sagas: usize) -> String {
    if sagas == 1 { "1 saga".to_owned() } else { format!("{sagas} sagas") }
}

fn capital(verb: &str) -> String {
    let mut letters = verb.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    const PAUSE: Act = Act { verb: "pause", done: "paused", destructive: false };

    #[test]
    fn some_failures_among_many_keep_the_exit_code_of_the_first() {
        let refused = || CliError::new(Exit::Refused, "cannot pause saga b").why("it has ended").next("amends show b");
        let results = vec![("a".to_owned(), Ok(())), ("b".to_owned(), Err(refused())), ("c".to_owned(), Ok(()))];
        let error = failure(PAUSE, results).expect_err("one failed");
        assert_eq!(error.exit(), Exit::Refused);
        assert_eq!(
            error.parts(),
            (
                "1 of 3 sagas were not paused",
                Some("the first: cannot pause saga b: it has ended"),
                Some("amends show b")
            )
        );
    }

    #[test]
    fn a_single_failure_is_told_as_it_is() {
        let error = failure::<()>(PAUSE, vec![("b".to_owned(), Err(CliError::new(Exit::NotFound, "no b")))]);
        assert_eq!(error.expect_err("it failed").parts().0, "no b");
    }
}
