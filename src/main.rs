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
use lessor::base::telemetry::{self, LogFormat};
use lessor::base::tls;
use lessor::cli::vault::serve::{DevFlags, EngineToServe, Serve, dev_text, keep_token};
use lessor::cli::vault::{self, Program, Surroundings};
use lessor::cli::{self, Cli, Command, Line, args, ask, who};
use lessor::client::{Client, ClientConfig};
use lessor::engine::status::VERSION;
use lessor::migrate::{self, Found, Migration, Scope};
use lessor::operator::{self, Election, TenantRole};
use lessor::server::config::Config;
use lessor::server::dev::{Dev, DevOptions, DevTls};
use lessor::server::run::{self, Failure};
use lessor::webhook;

fn main() -> ExitCode {
    tls::install_provider();
    let mut arguments = std::env::args_os();
    let program = Program::called(arguments.next().as_deref(), env!("CARGO_PKG_VERSION"), VERSION);
    let around = Surroundings::of_process();
    let arguments: Vec<_> = arguments.collect();
    let ended = match cli::read(&arguments, &program, &around) {
        Line::Ended(code) => return ExitCode::from(code),
        Line::Ask(command, values) => ask_engine(command, &values, &program, &around),
        Line::Serve(serve) => serve_engine(*serve, &around),
        Line::Role(cli) => play(*cli, &around),
    };
    ended.unwrap_or_else(|error| {
        around.say(&format!("{}: {}", program.name, telemetry::chain(&*error)));
        ExitCode::from(1)
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// A command for people. It logs nothing but errors, which it prints itself, unless somebody wants to see more.
fn ask_engine(
    command: &vault::Command,
    values: &vault::Values,
    program: &Program,
    around: &Surroundings,
) -> Result<ExitCode, Failure> {
    let level = around.variable("LOG_LEVEL").unwrap_or_else(|| "off".to_owned());
    telemetry::init(telemetry::parse_level(&level)?, LogFormat::default());
    Ok(ExitCode::from(runtime()?.block_on(vault::run(command, values, program, around))))
}

/// `lessor server` and `lessor dev`. The command line beats the files.
fn serve_engine(serve: Serve, around: &Surroundings) -> Result<ExitCode, Failure> {
    let config = match &serve.engine {
        EngineToServe::Configured(paths) => Some(Config::load_all(paths)?),
        EngineToServe::Dev(_) => None,
    };
    let (level, format) = config.as_ref().map(|config| config.log.clone()).unwrap_or_default();
    let (level, format) =
        (serve.log_level.or(level).unwrap_or_default(), serve.log_format.or(format).unwrap_or_default());
    telemetry::init(telemetry::parse_level(&level)?, format.parse()?);
    runtime()?.block_on(async {
        let shutdown = shutdown::on_signals()?;
        match (config, serve.engine) {
            (Some(config), _) => run::server(config, shutdown).await?,
            (None, EngineToServe::Dev(flags)) => run_dev(flags, around, shutdown).await?,
            (None, EngineToServe::Configured(_)) => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A role of a cluster, or one of its tools.
fn play(cli: Cli, around: &Surroundings) -> Result<ExitCode, Failure> {
    let level = cli.log_level.unwrap_or_default();
    telemetry::init(telemetry::parse_level(&level)?, cli.log_format.unwrap_or_default().parse()?);
    if let Command::Crds(flags) = &cli.command {
        print_crds(flags)?;
        return Ok(ExitCode::SUCCESS);
    }
    runtime()?.block_on(async {
        let shutdown = shutdown::on_signals()?;
        let ended = match cli.command {
            Command::Migrate(flags) => return run_migrate(flags).await,
            Command::Operator(flags) => run_operator(flags, shutdown).await,
            Command::Webhook(flags) => run_webhook(flags, shutdown).await,
            Command::Crds(_) => Ok(()),
            Command::Who(flags) => print(&who::who(&asking(&flags.ask, around)?, &flags).await?),
            Command::Orphans(flags) => print(&ask::orphans(&asking(&flags.ask, around)?, &flags).await?),
        };
        ended.map(|()| ExitCode::SUCCESS)
    })
}

/// A client with the address and token of the environment, or with the token that a login left.
fn asking(flags: &args::AskFlags, around: &Surroundings) -> Result<Client, Failure> {
    vault::client_at(flags.address.as_deref(), around).map_err(|failure| failure.text.into())
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
        login_mounts: flags.login_mounts,
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
        certificate_source: match flags.certificate_source {
            args::CertificateSource::Own => webhook::CertificateSource::Own,
            args::CertificateSource::Secret => webhook::CertificateSource::Given,
        },
        certificate_validity: flags.certificate_validity,
        certificate_renew_before: flags.certificate_renew_before,
        certificate_overlap: flags.certificate_overlap,
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

async fn run_dev(flags: DevFlags, around: &Surroundings, shutdown: Shutdown) -> Result<(), Failure> {
    for warning in &flags.warnings {
        tracing::warn!("{warning}");
    }
    let options = DevOptions {
        listen: flags.listen,
        root_token: flags.root_token,
        tls: flags.tls.map(|(folder, names)| DevTls { folder, names }),
        kv: flags.kv,
        initialized: flags.initialized,
    };
    let started = Dev::with(options, shutdown).await?;
    let token = Some(&started.root_token).filter(|token| !token.is_empty());
    if let Some(token) = token.filter(|_| flags.store_token)
        && let Err(problem) = keep_token(around, token)
    {
        tracing::warn!("{problem}");
    }
    print(&dev_text(&started.url(), started.ca_file(), started.unseal_key.as_ref(), token))?;
    started.serve().await
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
