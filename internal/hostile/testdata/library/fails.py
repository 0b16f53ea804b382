# Ends by an exception in a function of Ansible's: its traceback has lines of files.
from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule({})
    module.run_command(object())
    module.jsonify(object(), sort_keys=object())
    raise ValueError('on purpose')


if __name__ == '__main__':
    main()
