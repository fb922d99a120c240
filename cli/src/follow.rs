//! Follows one saga until nothing more will happen by itself.

use std::time::{Duration, Instant};

use amends_proto::amends::v1::{GetSagaRequest, Saga, SagaStatus, WatchSagaRequest};
use futures::{Stream, StreamExt as _};

use crate::args::Global;
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::output::format::{clean, short_id};
use crate::output::{status, terminal};

/// The saga as it is now.
pub(crate) async fn get(client: &Client, id: &str, command: &'static str) -> Result<Saga, CliError> {
    let doing = Doing::read(command, format!("show saga {id}"));
    client.call(&doing, client.sagas().get_saga(client.request(GetSagaRequest { id: id.to_owned() }))).await
}

/// The saga now and after every transition. The stream ends when the saga has ended.
pub(crate) async fn watch(
    client: &Client,
    id: &str,
    command: &'static str,
) -> Result<impl Stream<Item = Result<Saga, CliError>> + Unpin + use<>, CliError> {
    let doing = Doing::read(command, format!("follow saga {id}"));
    // No deadline on the request: it would end the stream.
    let request = WatchSagaRequest { id: id.to_owned() };
    let stream = client.stream(&doing, client.sagas().watch_saga(request)).await?;
    Ok(stream.map(move |item| item.map_err(|status| doing.failed(&status))))
}

/// Waits until the saga has ended or is parked, at most for `limit`. A spinner on a terminal says what it waits for.
pub(crate) async fn until_settled(
    client: &Client,
    id: &str,
    command: &'static str,
    limit: Option<Duration>,
) -> Result<Saga, CliError> {
    let spinner = terminal::spinner();
    let mut last = None;
    let watching = async {
        let mut sagas = watch(client, id, command).await?;
        while let Some(saga) = sagas.next().await {
            let saga = saga?;
            spinner.set_message(sentence(&saga));
            if is_settled(&saga) {
                return Ok(saga);
            }
            last = Some(saga);
        }
        // An engine that shuts down closes its streams; the saga may have ended meanwhile.
        let saga = get(client, id, command).await?;
        if is_settled(&saga) { Ok(saga) } else { Err(left_alone(id, "the engine closed the stream")) }
    };
    let result = match limit {
        Some(limit) => tokio::time::timeout(limit, watching).await,
        None => Ok(watching.await),
    };
    spinner.finish_and_clear();
    result.unwrap_or_else(|_| Err(left_alone(id, &last.as_ref().map(sentence).unwrap_or_default())))
}

/// What is left of `--timeout` for a command that has been waiting already.
pub(crate) fn left(global: &Global, began: Instant) -> Option<Duration> {
    global.timeout.map(|limit| limit.saturating_sub(began.elapsed()))
}

/// Whether nothing more will happen by itself.
pub(crate) fn is_settled(saga: &Saga) -> bool {
    matches!(saga.status(), SagaStatus::Completed | SagaStatus::Compensated | SagaStatus::Parked)
}

/// Turns how a saga settled into how the program ends.
pub(crate) fn verdict(saga: &Saga) -> Result<(), CliError> {
    let name = format!("{} {}", clean(&saga.r#type), short_id(&saga.id));
    let settled = |exit, what: &str, next| {
        Err(CliError::new(exit, format!("{name} {what}")).why(clean(status::why(saga).0)).next(next))
    };
    match saga.status() {
        SagaStatus::Compensated => settled(Exit::Compensated, "was undone", format!("amends show {}", saga.id)),
        SagaStatus::Parked => settled(Exit::Parked, "is parked: it waits for an operator", status::next_command(saga)),
        _ => Ok(()),
    }
}

fn left_alone(id: &str, why: &str) -> CliError {
    CliError::new(Exit::Unreachable, format!("saga {id} has not ended yet; it goes on"))
        .why(why)
        .next(format!("amends wait {}", shell_word(id)))
}

/// What the saga waits for, in one line.
fn sentence(saga: &Saga) -> String {
    if saga.waiting_for.is_empty() { status::word(saga.status()).to_owned() } else { clean(&saga.waiting_for) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_is_the_exit_code_of_waiting() {
        let code = |status: SagaStatus| {
            let saga = Saga { status: status.into(), ..Saga::default() };
            verdict(&saga).err().map_or(0, |error| error.exit().code())
        };
        assert_eq!(code(SagaStatus::Completed), 0);
        assert_eq!(code(SagaStatus::Compensated), 7);
        assert_eq!(code(SagaStatus::Parked), 8);
    }
}
