//! The local object store with the syncs that object_store leaves out.
//!
//! object_store's local store renames unsynced files into place: after a loss of power a log entry
//! may be there and empty, which makes the whole table unreadable. Here data, log entries and
//! checkpoints reach the disk before their name does, and the name before the call returns.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    UploadPart,
};

use crate::durable;
use crate::error::{Error, Result};

/// Rooted at `/`, as Delta's log store addresses a table by its whole path.
#[derive(Debug, Clone)]
pub(super) struct DurableLocal {
    inner: Arc<LocalFileSystem>,
}

impl DurableLocal {
    pub(super) fn new() -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()) }
    }

    async fn write(
        path: PathBuf,
        payload: PutPayload,
        mode: PutMode,
    ) -> object_store::Result<PutResult> {
        let name = path.display().to_string();
        let written = blocking(move || {
            if let Some(dir) = path.parent() {
                durable::create_dir_all(dir)?;
            }
            let chunks = payload.iter().map(Bytes::as_ref);
            match mode {
                PutMode::Create => durable::create(&path, chunks),
                _ => durable::replace(&path, chunks).map(|()| true),
            }
        });
        if !written.await? {
            return Err(StoreError::AlreadyExists {
                path: name,
                source: "another writer created it".into(),
            });
        }
        Ok(PutResult { e_tag: None, version: None })
    }
}

/// Runs file work off the async threads and puts the crate's error beneath the store's.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> object_store::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => {
            done.map_err(|err| StoreError::Generic { store: "archive", source: err.into() })
        }
        Err(source) => Err(StoreError::JoinError { source }),
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableLocal")
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(StoreError::NotImplemented {
                operation: "a conditional update".into(),
                implementer: self.to_string(),
            });
        }
        Self::write(self.inner.path_to_filesystem(location)?, payload, opts.mode).await
    }

    /// Buffers the parts: the writers above hold the file in memory before they split it.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { path: self.inner.path_to_filesystem(location)?, parts: Vec::new() }))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || {
            let file = std::fs::File::open(&path).map_err(|e| Error::io("open", &path, e))?;
            durable::sync(&file, &path)?;
            path.parent().map_or(Ok(()), durable::sync_dir)
        })
        .await
    }
}

#[derive(Debug)]
struct Upload {
    path: PathBuf,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let payload = self.parts.drain(..).flatten().collect();
        DurableLocal::write(self.path.clone(), payload, PutMode::Overwrite).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.parts.clear();
        Ok(())
    }
}
