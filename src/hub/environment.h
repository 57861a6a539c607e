// What the environment says about the hub, as the Python package huggingface_hub reads it.
#pragma once
#include <chrono>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace tern::hub {

struct Environment {
  /// The folder of models--OWNER--NAME: $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
  /// $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub, the first that is set.
  std::filesystem::path cache;
  std::string endpoint;  ///< $HF_ENDPOINT or https://huggingface.co, without slash at the end
  /// $HF_TOKEN, $HUGGING_FACE_HUB_TOKEN, or the file $HF_TOKEN_PATH or $HF_HOME/token; "" for none,
  /// or with $HF_HUB_DISABLE_IMPLICIT_TOKEN.
  std::string token;
  bool offline = false;               ///< $HF_HUB_OFFLINE or $TRANSFORMERS_OFFLINE
  std::chrono::seconds patience{10};  ///< $HF_HUB_DOWNLOAD_TIMEOUT: silence that ends a connection
};

/// @error usage  a value that cannot be meant: an endpoint that is no http or https address, a
///               token with control characters, no home folder
Result<Environment> read_environment();

}  // namespace tern::hub
