//! What browsers are told: which pages of other origins may use the API, and the headers of a user interface.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::storage::View;
use crate::wire::Error;

const CORS: &str = "config/cors";
const UI_HEADERS: &str = "config/ui-headers";

/// Which pages of other origins may use the API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cors {
    /// Off by default.
    pub enabled: bool,
    /// `*` alone, or a list.
    pub allowed_origins: Vec<String>,
    /// Besides those that every client of the API needs.
    pub allowed_headers: Vec<String>,
}

impl Cors {
    /// Whether a page from there may use the API.
    pub fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

/// The settings about browsers.
pub struct Browsers {
    view: View,
    cors: RwLock<Arc<Cors>>,
}

impl Browsers {
    /// As they are stored in `view`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View) -> Result<Self, Error> {
        let cors = view.get(CORS).await?.map(|(cors, _)| cors).unwrap_or_default();
        Ok(Self { view, cors: RwLock::new(Arc::new(cors)) })
    }

    /// The rule in force.
    pub fn cors(&self) -> Arc<Cors> {
        self.cors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another rule in force.
    ///
    /// # Errors
    /// What the store says.
    pub async fn set_cors(&self, cors: Cors) -> Result<(), Error> {
        self.view.put(CORS, &cors).await?;
        *self.cors.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(cors);
        Ok(())
    }

    /// The headers of the user interface.
    ///
    /// # Errors
    /// What the store says.
    pub async fn ui_headers(&self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        Ok(self.view.get(UI_HEADERS).await?.map(|(headers, _)| headers).unwrap_or_default())
    }

    /// Replaces them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn set_ui_headers(&self, headers: &BTreeMap<String, Vec<String>>) -> Result<(), Error> {
        Ok(self.view.put(UI_HEADERS, headers).await?)
    }
}

/// Headers that a page may send without being named by `allowed_headers`.
pub const STANDARD_HEADERS: &[&str] = &[
    "Content-Type",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Vault-Policy-Override",
    "Authorization",
    "X-Vault-Token",
];
