// SPDX-License-Identifier: Apache-2.0
// Files that are whole or absent.
#pragma once

#include <string>
#include <string_view>

namespace isthmus {

// Temporary file in the same folder, write, fsync, rename, fsync of the folder. On any error Error(io) with errno, call
// and path is thrown, the temporary file is removed and the old file stays whole; only when the last step, the fsync of
// the folder, fails, the new file stands in its place already, whole. An existing file keeps its permissions, and its
// owner and group where this process may give files away; a symbolic link stays, and what it points to is replaced. A
// read-only file, a folder or a device is refused. The temporary file's name begins with `temporary`; a process that is
// killed leaves it behind.
void write_atomically(const std::string& path, std::string_view bytes, std::string_view temporary = ".isthmus-");

// The bytes to the end of the file or pipe. Throws Error(io), also for a folder (EISDIR) or a device (EINVAL).
std::string read_file(const std::string& path);

}  // namespace isthmus
