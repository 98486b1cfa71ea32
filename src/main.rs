//! Lessor: one role per process, chosen by the first argument.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kube::config::KubeConfigOptions;
use lessor::api::crds;
use lessor::base::Clock;
use lessor::base::clock::SystemClock;
use lessor::base::random::SystemRandom;
use lessor::base::shutdown::{self, Shutdown};
use lessor::base::{Secret, telemetry, tls};
use lessor::cli::{self, Cli, Command, args, ask, who};
use lessor::client::{Client, ClientConfig, token_from_env};
use lessor::migrate::{self, Found, Migration, Scope};
use lessor::operator::{self, Election, TenantRole};
use lessor::server::config::Config;
use lessor::server::run::{self, Failure};
use lessor::webhook;

fn main() -> ExitCode {
    tls::install_provider();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
            // Nothing is left to do when even the message cannot be written.
            let _ = error.print();
            return code;
        }
    };
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lessor: {}", telemetry::chain(&*error));
            ExitCode::from(1)
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    let config = match &cli.command {
        Command::Server(server) => Some(Config::load(&server.config)?),
        _ => None,
    };
    // The command line beats the file.
    let (level, format) = config.as_ref().map(|config| config.log.clone()).unwrap_or_default();
    let (level, format) = (cli.log_level.or(level).unwrap_or_default(), cli.log_format.or(format).unwrap_or_default());
    telemetry::init(telemetry::parse_level(&level)?, format.parse()?);
    if let Command::Crds(flags) = &cli.command {
        print_crds(flags)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = shutdown::on_signals()?;
        let ended = match cli.command {
            Command::Migrate(flags) => return run_migrate(flags).await,
            Command::Dev(dev) => run_dev(dev, shutdown).await,
            Command::Server(_) => match config {
                Some(config) => run::server(config, shutdown).await,
                None => Ok(()),
            },
            Command::Operator(flags) => run_operator(flags, shutdown).await,
            Command::Webhook(flags) => run_webhook(flags, shutdown).await,
            Command::Crds(_) => Ok(()),
            Command::Lease(flags) => {
                let args::LeaseCommand::List(list) = &flags.command;
                print(&ask::lease_list(&asking(&flags.ask)?, list).await?)
            }
            Command::Who(flags) => print(&who::who(&asking(&flags.ask)?, &flags).await?),
            Command::Orphans(flags) => print(&ask::orphans(&asking(&flags.ask)?, &flags).await?),
        };
        ended.map(|()| ExitCode::SUCCESS)
    })
}

/// A client with the address and token of the environment.
fn asking(flags: &args::AskFlags) -> Result<Client, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut config = ClientConfig::new("http://127.0.0.1:8200");
    config.merge_env(&variable)?;
    if let Some(address) = &flags.address {
        config.address.clone_from(address);
    }
    let client = Client::new(config, Arc::new(SystemClock), Arc::new(SystemRandom))?;
    Ok(match token_from_env(&variable) {
        Some(token) => client.with_token(token),
        None => client,
    })
}

fn print_crds(flags: &args::Crds) -> Result<(), Failure> {
    match (&flags.write, &flags.check) {
        (Some(folder), _) => Ok(crds::write(folder)?),
        (None, Some(folder)) => Ok(crds::check(folder)?),
        (None, None) => print(&crds::yaml()?),
    }
}

/// Prints what Vault Secrets Operator's objects become, and on standard error what is to be known about it.
async fn run_migrate(flags: args::Migrate) -> Result<ExitCode, Failure> {
    let (objects, namespace) = if flags.files.is_empty() {
        let kubeconfig = KubeConfigOptions { context: flags.context, ..KubeConfigOptions::default() };
        let config = kube::Config::from_kubeconfig(&kubeconfig).await?;
        let scope = match flags.namespace {
            _ if flags.all_namespaces => Scope::All,
            namespace => Scope::Namespace(namespace.unwrap_or_else(|| config.default_namespace.clone())),
        };
        (migrate::objects(&kube::Client::try_from(config)?, &scope).await?, None)
    } else {
        let mut objects = Vec::new();
        for file in &flags.files {
            let text = match file.as_str() {
                "-" => std::io::read_to_string(std::io::stdin()).map_err(|error| format!("standard input: {error}"))?,
                path => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
            };
            let documents = migrate::documents(file, &text)?;
            objects.extend(documents.into_iter().map(|object| Found { object, wanted: true }));
        }
        (objects, flags.namespace)
    };
    let options = migrate::Options { namespace, vso_namespace: flags.vso_namespace, take_over: flags.take_over };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let migration = Migration::of(objects, &options, &clock)?;
    let mut said = std::io::stderr().lock();
    for finding in migration.findings() {
        writeln!(said, "{finding}")?;
    }
    if migration.is_complete() || !flags.strict {
        print(&migration.yaml())?;
    }
    Ok(if migration.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

async fn run_operator(flags: args::Operator, shutdown: Shutdown) -> Result<(), Failure> {
    let mut engine = ClientConfig::new(flags.engine.engine_address);
    engine.tls.ca_file = flags.engine.engine_ca_file;
    // An object that waits for a hanging engine keeps others from their turn.
    engine.timeout = Duration::from_secs(20);
    let (lease, identity) = (flags.leader_lease.zip(flags.lease_namespace), flags.identity);
    let election = lease.map(|(name, namespace)| Election { namespace, name, identity: identity.clone() });
    let bound = flags.tenant_role.zip(flags.service_account);
    let options = operator::Options {
        engine,
        tenant_role: bound.map(|(role, service_account)| TenantRole { role, service_account }),
        auth_mount: flags.engine.auth_mount,
        login_role: flags.login_role,
        token_file: flags.token_file,
        database_mount: flags.database_mount,
        namespaces: flags.namespaces,
        login_secrets: flags.login_secrets,
        audience: flags.engine.token_audience,
        identity,
        election,
        max_rollouts: flags.max_rollouts,
        listen: flags.listen,
    };
    let kube = kube::Client::try_default().await?;
    Ok(operator::run(options, kube, Arc::new(SystemClock), Arc::new(SystemRandom), shutdown).await?)
}

async fn run_webhook(flags: args::Webhook, shutdown: Shutdown) -> Result<(), Failure> {
    let options = webhook::Options {
        listen: flags.listen,
        namespace: flags.namespace,
        service_name: flags.service_name,
        configuration_name: flags.configuration_name,
        secret_name: flags.secret_name,
        agent_image: flags.agent_image,
        agent_image_pull_policy: flags.agent_image_pull_policy,
        engine_address: flags.engine.engine_address,
        engine_ca_file: flags.engine.engine_ca_file,
        auth_mount: flags.engine.auth_mount,
        token_audience: flags.engine.token_audience,
        ..webhook::Options::default()
    };
    let kube = kube::Client::try_default().await?;
    Ok(webhook::run(options, kube, Arc::new(SystemClock), Arc::new(SystemRandom), shutdown).await?)
}

async fn run_dev(dev: args::Dev, shutdown: Shutdown) -> Result<(), Failure> {
    let started = run::Dev::start(dev.listen, dev.root_token.map(Secret::new), shutdown).await?;
    // The one token that is printed: dev mode exists to be tried out, and holds nothing when it ends.
    print(&format!(
        "==> Lessor in dev mode: everything is in memory and ends with this process\n\n    export VAULT_ADDR='http://{}'\n    export VAULT_TOKEN='{}'\n\n",
        started.address,
        started.root_token.expose()
    ))?;
    started.serve().await
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
