"""chat_templates.json: conversations rendered by Jinja, the way transformers calls it, for each shape of template.

  python make_chat_templates.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out chat_templates.json

SmolLM2's template is read from the file. The others are written here with the markers, spaces and order that the
published templates of each family have, without their tool branches. A conversation that the template refuses
(raise_exception) is recorded as null: there the program must refuse too. A template that drops a system message
in silence is recorded under `drops_system`: the program refuses what would be lost.
"""
import argparse
import json
from importlib.metadata import version

import jinja2
import jinja2.sandbox
from gguf import GGUFReader

ALTERNATE = ("{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
             "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}")
SPLIT_SYSTEM = ("{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
                "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}")


def mistral(opening, closing, when, answer):
    return (SPLIT_SYSTEM + "{{- bos_token }}{%- for message in loop_messages %}" + ALTERNATE +
            "{%- if message['role'] == 'user' %}{%- if " + when + " and system_message is defined %}"
            "{{- '" + opening + "' + system_message + '\\n\\n' + message['content'] + '" + closing + "' }}{%- else %}"
            "{{- '" + opening + "' + message['content'] + '" + closing + "' }}{%- endif %}"
            "{%- elif message['role'] == 'assistant' %}{{- " + answer + " }}{%- endif %}{%- endfor %}")


TEMPLATES = {
    "chatml": ("", "<|im_end|>",
               "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
               "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
               "{% endif %}"),
    "qwen2": ("", "<|im_end|>",
              "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
              "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
              "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"),
    "qwen2.5": ("", "<|im_end|>",
                "{%- if messages[0]['role'] == 'system' %}\n"
                "    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n{%- else %}\n"
                "    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
                "<|im_end|>\\n' }}\n{%- endif %}\n{%- for message in messages %}\n"
                "    {%- if (message.role == 'user') or (message.role == 'system' and not loop.first) or "
                "(message.role == 'assistant') %}\n"
                "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
                "    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
                "    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"),
    "llama-3": ("<|begin_of_text|>", "<|end_of_text|>",
                "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
                "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
                "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"),
    "llama-3.1": ("<|begin_of_text|>", "<|eot_id|>",
                  "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n"
                  "{%- endif %}\n{%- if messages[0]['role'] == 'system' %}\n"
                  "    {%- set system_message = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n"
                  "{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n"
                  "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
                  "{{- \"Cutting Knowledge Date: December 2023\\n\" }}\n"
                  "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{{- system_message }}\n{{- \"<|eot_id|>\" }}\n"
                  "{%- for message in messages %}\n    {{- '<|start_header_id|>' + message['role'] + "
                  "'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n"
                  "{%- if add_generation_prompt %}\n"
                  "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"),
    "llama-2": ("<s>", "</s>",
                "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
                "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
                "{% set system_message = false %}{% endif %}{% for message in loop_messages %}" + ALTERNATE +
                "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message"
                " + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}"
                "{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + "
                "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
                "{% endif %}{% endfor %}"),
    "mistral-v0.1": ("<s>", "</s>",
                     "{{ bos_token }}{% for message in messages %}" + ALTERNATE +
                     "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
                     "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% else %}"
                     "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"),
    "mistral-v1": ("<s>", "</s>", mistral(" [INST] ", " [/INST]", "loop.first", "' ' + message['content'] + eos_token")),
    "mistral-v3": ("<s>", "</s>",
                   mistral("[INST] ", "[/INST]", "loop.last", "' ' + message['content']|trim + eos_token")),
    "mistral-tekken": ("<s>", "</s>", mistral("[INST]", "[/INST]", "loop.last", "message['content'] + eos_token")),
    "gemma-2": ("<bos>", "<eos>",
                "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
                "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}" + ALTERNATE +
                "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
                "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] "
                "| trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}"
                "{{'<start_of_turn>model\n'}}{% endif %}"),
    "gemma-3": ("<bos>", "<eos>",
                "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n"
                "    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}\n"
                "    {%- set loop_messages = messages[1:] -%}\n{%- else -%}\n    {%- set first_user_prefix = \"\" -%}\n"
                "    {%- set loop_messages = messages -%}\n{%- endif -%}\n{%- for message in loop_messages -%}\n"
                + ALTERNATE + "{%- if (message['role'] == 'assistant') -%}{%- set role = \"model\" -%}{%- else -%}"
                "{%- set role = message['role'] -%}{%- endif -%}\n    {{- '<start_of_turn>' + role + '\n' + "
                "(first_user_prefix if loop.first else \"\") -}}\n    {{- message['content'] | trim -}}\n"
                "    {{- '<end_of_turn>\n' -}}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n"
                "    {{- '<start_of_turn>model\n' -}}\n{%- endif -%}\n"),
    "phi-3-mini": ("<s>", "<|endoftext|>",
                   "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + "
                   "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + "
                   "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + "
                   "message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}"
                   "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"),
    "phi-3-medium": ("<s>", "<|endoftext|>",
                     "{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + "
                     "message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}"
                     "{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}"
                     "{% endif %}{% endfor %}"),
    "phi-4-mini": ("<|endoftext|>", "<|endoftext|>",
                   "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
                   "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"),
    "zephyr": ("<s>", "</s>",
               "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
               "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + "
               "message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + "
               "message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
               "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"),
}
CHATS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "user", "content": "  spaces around \n"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Hello! "},
     {"role": "user", "content": "And now?"}],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "A"},
     {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}],
    [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.model)
    templates = {"smollm2": ("<|im_start|>", "<|im_end|>", reader.fields["tokenizer.chat_template"].contents())}
    templates |= TEMPLATES
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    cases = []
    for name, (bos, eos, template) in templates.items():
        compiled = environment.from_string(template)
        for messages in CHATS:
            case = {"name": name, "messages": messages}
            try:
                text = compiled.render(messages=messages, bos_token=bos, eos_token=eos, add_generation_prompt=True)
                lost = messages[0]["role"] == "system" and messages[0]["content"] not in text
                case |= {"drops_system": True} if lost else {"text": text}
            except jinja2.exceptions.TemplateError:
                case["text"] = None
            cases.append(case)
    fixture = {"schema": "vramplan.reference.chat_templates/1", "versions": {"jinja2": version("jinja2")},
               "templates": {n: {"bos": b, "eos": e, "jinja": t} for n, (b, e, t) in templates.items()},
               "cases": cases}
    with open(arguments.out, "w") as out:
        json.dump(fixture, out, ensure_ascii=True, indent=0)
        out.write("\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
