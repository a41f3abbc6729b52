// What is told where the sandbox cannot be built.
#pragma once

#include "sandbox/inside.h"

namespace cadre {

// What has to be enabled on the machine.
inline constexpr char kPermissions[] =
    "generated programs are only run where unprivileged user namespaces are permitted. Enable them "
    "(sysctl user.max_user_namespaces > 0, kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container also its seccomp profile)";

// Throws the Error that the report stands for.
[[noreturn]] void ThrowFailure(const InsideReport& report, const SystemView& view);

}  // namespace cadre
