#include "transfer/student_shape.h"

#include "base/error.h"
#include "transfer/reshape.h"

namespace cadre {

ModelConfig StudentShape(const DistillConfig& config, const ModelConfig& teacher) {
  const auto& s = config.shape;
  const bool random = config.init == StudentInit::kRandom;
  const bool any = s.dim || s.layers || s.heads || s.kv_heads || s.head_dim;
  if (any && !random) {
    throw Error(
        "student.dim, .layers, .heads, .kv_heads and .head_dim are for student.init random:"
        " a student that begins as its teacher has the teacher's");
  }
  if (config.init == StudentInit::kMerged && s.hidden_dim != 0 &&
      s.hidden_dim != teacher.hidden_dim) {
    throw Error("student.hidden_dim is {} but merged experts have the teacher's width, {}",
                s.hidden_dim, teacher.hidden_dim);
  }
  const auto or_else = [](int64_t given, int64_t fallback) { return given ? given : fallback; };
  ModelConfig student =
      DenseConfig(teacher, config.init == StudentInit::kMerged
                               ? teacher.hidden_dim
                               : or_else(s.hidden_dim, teacher.hidden_dim * teacher.router.top_k));
  if (random) {
    student.dim = or_else(s.dim, teacher.dim);
    student.num_layers = or_else(s.layers, teacher.num_layers);
    student.num_heads = or_else(s.heads, teacher.num_heads);
    student.num_kv_heads = or_else(s.kv_heads, teacher.num_kv_heads);
    const bool derived = (s.dim || s.heads) && student.num_heads > 0;
    student.head_dim =
        or_else(s.head_dim, derived ? student.dim / student.num_heads : teacher.head_dim);
  }
  student.Validate("student");
  return student;
}

}  // namespace cadre
