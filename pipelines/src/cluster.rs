//! A Ballista cluster: one scheduler, and executors that work for it.
//!
//! Executors read the lake's files themselves, under the paths that the scheduler's clients name. Ballista knows no
//! authentication: who reaches its ports can read what its processes can read. Keep them on a private network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::error::BallistaError;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;

use crate::error::{PipelineError, Result};

/// Gives work to executors until it is stopped.
pub async fn schedule(listener: TcpListener) -> Result<()> {
    let address = listener.local_addr().map_err(|error| refused(&error))?;
    let config = SchedulerConfig {
        external_host: address.ip().to_string(),
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        ..SchedulerConfig::default()
    };
    let serve = async {
        config.validate()?;
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let scheduler =
            create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await?;
        start_grpc_service_with_listener(listener, scheduler).await
    };
    serve.await.map_err(|error: BallistaError| refused(&error))
}

/// What an executor works with.
#[derive(Clone, Debug)]
pub struct Executor {
    pub scheduler: SocketAddr,
    /// Where others fetch what it worked out; the port above is its too.
    pub bind: SocketAddr,
    /// Tasks at the same time.
    pub cores: usize,
    /// What it works out on the way lies here until the job is done.
    pub work_directory: PathBuf,
}

/// Works for a scheduler until it is stopped.
pub async fn execute(executor: Executor) -> Result<()> {
    let Executor { scheduler, bind, cores, work_directory } = executor;
    let config = ExecutorProcessConfig {
        bind_host: bind.ip().to_string(),
        external_host: Some(bind.ip().to_string()),
        port: bind.port(),
        grpc_port: bind.port() + 1,
        scheduler_host: scheduler.ip().to_string(),
        scheduler_port: scheduler.port(),
        scheduler_connect_timeout_seconds: 30,
        vcores: cores,
        work_dir: Some(work_directory.to_string_lossy().into_owned()),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config)).await.map_err(|error| refused(&error))
}

fn refused(error: &dyn std::fmt::Display) -> PipelineError {
    PipelineError::Engine { reason: error.to_string().lines().next().unwrap_or_default().to_owned() }
}
