// analyze(): a model and a table of rules in, a report out.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "walk.hpp"

namespace macsim {

Result<Report> analyze(ModelPtr model, const Registry& registry, const Options& options) {
  if (model == nullptr || model->bodies.empty()) return Status(Code::bad_request, "there is no model");
  Walk walk(std::move(model), registry, options);
  if (Status status = walk.run(); !status) return status;
  return report_of(walk);
}

Report report_of(Walk& walk) {
  Rows rows;
  auto data = std::make_shared<Report::Data>();
  data->found = walk.take(rows);
  data->columns = std::move(rows.columns);
  return Report(std::move(data));
}

}  // namespace macsim
