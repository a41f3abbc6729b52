// Continues a text with a model: continue MODEL TEXT
#include <cpu/cpu_device.h>
#include <engine/generator.h>
#include <engine/open.h>

#include <iostream>

int main(int, char** argv) {
  cadre::ThreadPool threads;
  const auto device = cadre::MakeCpuDevice(cadre::DetectIsa(), threads);
  const auto opened = cadre::OpenModel(argv[1], cadre::TextNeed::kTokens);
  cadre::ResidentExperts experts(opened.model.model().weights);
  cadre::Generator generator(opened.model.model(), experts, *device, *opened.tokenizer, {});
  generator.Generate({.prompt_ids = opened.tokenizer->Encode(argv[2])},
                     [](const cadre::TokenEvent& event) { std::cout << event.text << std::flush; });
}
