//! SQL of users, run on the executors, streamed back as one Arrow IPC stream cut into pieces.
//!
//! A query may read the tables `bars`, `results` and `sweeps` and nothing else: statements that write, that change the
//! session or that name files are refused, and `sweep()`, which reads a file where it is planned, is not registered.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use futures::{Stream, StreamExt as _};
use polybolos_plan::session::{Places, register_on_server};
use polybolos_proto::cluster::QueryReply;
use polybolos_storage::Location;
use tonic::Status;

use crate::ballista::Ballista;

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 1 << 20;

/// Where the tables are.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    pub(crate) data: String,
    pub(crate) results: Location,
}

/// Plans and starts a query.
pub(crate) async fn run(
    ballista: &Ballista,
    roots: &Roots,
    sql: &str,
) -> Result<SendableRecordBatchStream, Status> {
    let session = ballista.query_session().await.map_err(Status::internal)?;
    let places = Places { data: Some(roots.data.clone()), results: Some(roots.results.clone()) };
    register_on_server(&session, &places)
        .await
        .map_err(|error| Status::failed_precondition(error.to_string()))?;
    let reads_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let invalid = |error: datafusion::error::DataFusionError| {
        Status::invalid_argument(polybolos_plan::error::PlanError::from(error).to_string())
    };
    let frame = session.sql_with_options(sql, reads_only).await.map_err(invalid)?;
    frame.execute_stream().await.map_err(invalid)
}

/// Batches as pieces of one IPC stream; the schema is sent even where there are no rows.
pub(crate) fn pieces(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> impl Stream<Item = Result<QueryReply, Status>> + Send + 'static {
    let state = (Box::pin(batches), None::<StreamWriter<Vec<u8>>>, schema, false);
    futures::stream::try_unfold(state, |(mut batches, writer, schema, is_done)| async move {
        if is_done {
            return Ok(None);
        }
        let fault = |error: datafusion::arrow::error::ArrowError| Status::internal(error.to_string());
        let mut writer = match writer {
            Some(writer) => writer,
            None => StreamWriter::try_new(Vec::new(), &schema).map_err(fault)?,
        };
        loop {
            match batches.next().await {
                Some(batch) => writer.write(&batch?).map_err(fault)?,
                None => {
                    writer.finish().map_err(fault)?;
                    let ipc = std::mem::take(writer.get_mut());
                    return Ok(Some((QueryReply { ipc }, (batches, Some(writer), schema, true))));
                }
            }
            if writer.get_ref().len() >= PIECE_BYTES {
                let ipc = std::mem::take(writer.get_mut());
                return Ok(Some((QueryReply { ipc }, (batches, Some(writer), schema, false))));
            }
        }
    })
}
