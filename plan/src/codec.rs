//! How sweeps travel inside DataFusion plans: a logical codec for the table, a physical one for the operator.
//!
//! Both check their own magic and version first and hand everything else to Ballista's codecs. Decoding does no I/O; it
//! compiles the strategy, which is pure.

use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use polybolos_engine::sweep::{SweepSpec, engine_version};
use polybolos_proto::sweep as wire;
use polybolos_proto::{WireError, check_engine_version, frame};
use polybolos_storage::Location;

use crate::error::PlanError;
use crate::sweep_exec::{Output, SweepExec};
use crate::sweep_table::SweepTable;
use crate::unit::SweepJob;

fn output_to_wire(output: Output) -> i32 {
    match output {
        Output::Rows => wire::Output::Rows.into(),
        Output::Receipts => wire::Output::Receipts.into(),
    }
}

fn output_from_wire(output: i32) -> std::result::Result<Output, WireError> {
    match wire::Output::try_from(output) {
        Ok(wire::Output::Rows) => Ok(Output::Rows),
        Ok(wire::Output::Receipts) => Ok(Output::Receipts),
        _ => Err(WireError::Field { field: "output", reason: format!("has the unknown value {output}") }),
    }
}

fn location_text(location: Option<&Location>) -> Result<Option<String>> {
    let text = |location: &Location| match location.path() {
        Some(path) => path.to_str().map(str::to_owned).ok_or_else(|| {
            DataFusionError::Plan(format!("path {location} is not Unicode and cannot be sent"))
        }),
        None => Ok(location.to_string()),
    };
    location.map(text).transpose()
}

impl SweepTable {
    /// The table as bytes.
    ///
    /// # Errors
    /// A path that is not Unicode.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> Result<()> {
        let message = wire::Table {
            engine_version: engine_version(),
            request: Some((&self.request).into()),
            series: self.series.iter().map(Into::into).collect(),
            data_root: self.data_root.clone(),
            results_root: location_text(self.results_root.as_ref())?,
            unit_rows: self.unit_rows,
            output: output_to_wire(self.output),
        };
        frame::TABLE.encode(&message, buffer);
        Ok(())
    }

    /// The table from bytes.
    ///
    /// # Errors
    /// Another version or engine, damaged bytes, or a strategy that does not compile here.
    pub fn decode(payload: &[u8]) -> std::result::Result<SweepTable, PlanError> {
        let message: wire::Table = frame::TABLE.decode(payload)?;
        check_engine_version(&message.engine_version)?;
        let request = message
            .request
            .ok_or(WireError::Field { field: "table.request", reason: "is missing".to_owned() })?
            .try_into()?;
        let output = output_from_wire(message.output)?;
        let results_root = message.results_root.map(Location::parse).transpose()?;
        let mut table = SweepTable::new(request, message.data_root, results_root, output)?;
        table.series = message
            .series
            .into_iter()
            .map(TryInto::try_into)
            .collect::<std::result::Result<_, WireError>>()?;
        table.unit_rows = message.unit_rows;
        Ok(table)
    }
}

impl SweepExec {
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<()> {
        let job = self.job();
        let message = wire::Node {
            engine_version: engine_version(),
            spec: Some((&job.spec).into()),
            data_root: job.data_root.clone(),
            results_root: location_text(job.results_root.as_ref())?,
            output: output_to_wire(self.output()),
        };
        frame::NODE.encode(&message, buffer);
        Ok(())
    }

    fn decode(payload: &[u8], input: Arc<dyn ExecutionPlan>) -> std::result::Result<SweepExec, PlanError> {
        let message: wire::Node = frame::NODE.decode(payload)?;
        check_engine_version(&message.engine_version)?;
        let spec: SweepSpec = message
            .spec
            .ok_or(WireError::Field { field: "node.spec", reason: "is missing".to_owned() })?
            .try_into()?;
        let output = output_from_wire(message.output)?;
        let results_root = message.results_root.map(Location::parse).transpose()?;
        let job = SweepJob::new(spec, message.data_root, results_root)?;
        Ok(SweepExec::new(Arc::new(job), output, input))
    }
}

/// Logical plans with sweep tables.
#[derive(Debug, Default)]
pub struct SweepLogicalCodec {
    inner: BallistaLogicalExtensionCodec,
}

impl LogicalExtensionCodec for SweepLogicalCodec {
    fn try_decode(&self, payload: &[u8], inputs: &[LogicalPlan], context: &TaskContext) -> Result<Extension> {
        self.inner.try_decode(payload, inputs, context)
    }

    fn try_encode(&self, node: &Extension, buffer: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode(node, buffer)
    }

    fn try_decode_table_provider(
        &self,
        payload: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        if frame::TABLE.claims(payload) {
            Ok(Arc::new(SweepTable::decode(payload)?))
        } else {
            self.inner.try_decode_table_provider(payload, table, schema, context)
        }
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        provider: Arc<dyn TableProvider>,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        match provider.downcast_ref::<SweepTable>() {
            Some(sweep) => sweep.encode(buffer),
            None => self.inner.try_encode_table_provider(table, provider, buffer),
        }
    }

    fn try_decode_file_format(
        &self,
        payload: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.inner.try_decode_file_format(payload, context)
    }

    fn try_encode_file_format(&self, buffer: &mut Vec<u8>, format: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.inner.try_encode_file_format(buffer, format)
    }
}

/// Physical plans with [`SweepExec`].
#[derive(Debug, Default)]
pub struct SweepPhysicalCodec {
    inner: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for SweepPhysicalCodec {
    fn try_decode(
        &self,
        payload: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !frame::NODE.claims(payload) {
            return self.inner.try_decode(payload, inputs, context, converter);
        }
        match inputs {
            [input] => Ok(Arc::new(SweepExec::decode(payload, Arc::clone(input))?)),
            _ => Err(DataFusionError::Plan(format!(
                "a sweep operator came with {} inputs, not 1",
                inputs.len()
            ))),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        match node.downcast_ref::<SweepExec>() {
            Some(sweep) => sweep.encode(buffer),
            None => self.inner.try_encode(node, buffer, converter),
        }
    }
}
